# A key per purpose, so that reading backups does not imply reading secrets. The users of a key are defined twice: here
# (which services and roles) and in IAM (which identities of this account).

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  region    = coalesce(var.region, data.aws_region.current.region)
}

data "aws_iam_policy_document" "key" {
  # checkov:skip=CKV_AWS_109: In a key's policy * is the key itself.
  # checkov:skip=CKV_AWS_111: The same.
  # checkov:skip=CKV_AWS_356: The same.
  for_each = var.purposes

  # Without this statement the key could never be changed again. It delegates the decision to IAM.
  statement {
    sid       = "AccountDecidesByIam"
    actions   = ["kms:*"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["arn:${local.partition}:iam::${local.account}:root"]
    }
  }

  dynamic "statement" {
    for_each = length(each.value.services) > 0 ? [each.value.services] : []

    content {
      sid       = "ServicesOfThisAccount"
      actions   = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"]
      resources = ["*"]

      principals {
        type        = "Service"
        identifiers = statement.value
      }

      condition {
        test     = "StringEquals"
        variable = "aws:SourceAccount"
        values   = [local.account]
      }
    }
  }

  dynamic "statement" {
    for_each = each.value.log_groups ? [true] : []

    content {
      sid       = "LogGroupsOfThisAccount"
      actions   = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"]
      resources = ["*"]

      principals {
        type        = "Service"
        identifiers = ["logs.${local.region}.amazonaws.com"]
      }

      condition {
        test     = "ArnLike"
        variable = "kms:EncryptionContext:aws:logs:arn"
        values   = ["arn:${local.partition}:logs:${local.region}:${local.account}:log-group:*"]
      }
    }
  }

  dynamic "statement" {
    for_each = length(each.value.roles) > 0 ? [each.value.roles] : []

    content {
      sid       = "Roles"
      actions   = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"]
      resources = ["*"]

      principals {
        type        = "AWS"
        identifiers = statement.value
      }
    }
  }

  # A volume is attached by a grant; only an AWS service may make one for these roles.
  dynamic "statement" {
    for_each = length(each.value.roles) > 0 ? [each.value.roles] : []

    content {
      sid       = "GrantsForVolumes"
      actions   = ["kms:CreateGrant"]
      resources = ["*"]

      principals {
        type        = "AWS"
        identifiers = statement.value
      }

      condition {
        test     = "Bool"
        variable = "kms:GrantIsForAWSResource"
        values   = ["true"]
      }
    }
  }
}

resource "aws_kms_key" "this" {
  for_each = var.purposes

  region                  = local.region
  description             = "${var.name}: ${each.value.description}"
  policy                  = data.aws_iam_policy_document.key[each.key].json
  enable_key_rotation     = true
  deletion_window_in_days = var.deletion_window_days

  tags = { Name = "${var.name}-${each.key}" }
}

resource "aws_kms_alias" "this" {
  for_each = var.purposes

  region        = local.region
  name          = "alias/${var.name}-${each.key}"
  target_key_id = aws_kms_key.this[each.key].key_id
}
