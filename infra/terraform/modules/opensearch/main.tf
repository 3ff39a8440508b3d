# Logs of everything in the cluster. Reached from the VPC only, and twice guarded: IAM says who may send requests,
# and fine-grained access control inside says what they may touch. How long logs stay is the ISM policy that comes
# with Fluent Bit's index template.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  account    = data.aws_caller_identity.current.account_id
  partition  = data.aws_partition.current.partition
  domain_arn = "arn:${local.partition}:es:${data.aws_region.current.region}:${local.account}:domain/${var.name}"
  several    = var.data_nodes.count > 1
}

resource "aws_security_group" "this" {
  # checkov:skip=CKV2_AWS_5: The domain's vpc_options attach it; this check does not look there.
  name        = "${var.name}-opensearch"
  description = "HTTPS from the cluster, without egress"
  vpc_id      = var.vpc_id

  tags = { Name = "${var.name}-opensearch" }
}

resource "aws_vpc_security_group_ingress_rule" "clients" {
  security_group_id            = aws_security_group.this.id
  description                  = "HTTPS from the nodes and pods of the cluster"
  referenced_security_group_id = var.client_security_group_id
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
}

# The administrator is a role that users assume for an hour, not a user with a password.
data "aws_iam_policy_document" "admin_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "AWS"
      identifiers = var.admin_principal_arns
    }
  }
}

data "aws_iam_policy_document" "admin" {
  statement {
    sid       = "EverythingInThisDomain"
    actions   = ["es:ESHttp*"]
    resources = ["${local.domain_arn}/*"]
  }
}

resource "aws_iam_role" "admin" {
  name                 = "${var.name}-admin"
  description          = "Administrator of OpenSearch domain ${var.name}"
  assume_role_policy   = data.aws_iam_policy_document.admin_trust.json
  permissions_boundary = var.permissions_boundary_arn
}

resource "aws_iam_role_policy" "admin" {
  name   = "administer"
  role   = aws_iam_role.admin.id
  policy = data.aws_iam_policy_document.admin.json
}

data "aws_iam_policy_document" "access" {
  statement {
    sid       = "Administer"
    actions   = ["es:ESHttp*"]
    resources = ["${local.domain_arn}/*"]

    principals {
      type        = "AWS"
      identifiers = [aws_iam_role.admin.arn]
    }
  }

  statement {
    sid       = "WriteLogs"
    actions   = ["es:ESHttpPost"]
    resources = ["${local.domain_arn}/_bulk", "${local.domain_arn}/*/_bulk"]

    principals {
      type        = "AWS"
      identifiers = [var.writer_role_arn]
    }
  }

  dynamic "statement" {
    for_each = length(var.reader_role_arns) > 0 ? [var.reader_role_arns] : []

    content {
      sid       = "SearchLogs"
      actions   = ["es:ESHttpGet", "es:ESHttpHead", "es:ESHttpPost"]
      resources = ["${local.domain_arn}/*"]

      principals {
        type        = "AWS"
        identifiers = statement.value
      }
    }
  }
}

resource "aws_cloudwatch_log_group" "this" {
  for_each = toset(["application", "audit", "index-slow", "search-slow"])

  name              = "/aws/opensearch/${var.name}/${each.key}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.log_kms_key_arn
}

data "aws_iam_policy_document" "logs" {
  statement {
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = [for group in aws_cloudwatch_log_group.this : "${group.arn}:*"]

    principals {
      type        = "Service"
      identifiers = ["es.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
}

resource "aws_cloudwatch_log_resource_policy" "this" {
  policy_name     = "${var.name}-opensearch"
  policy_document = data.aws_iam_policy_document.logs.json
}

resource "aws_opensearch_domain" "this" {
  # checkov:skip=CKV2_AWS_59: Three small data nodes choose a master among themselves; dedicated_masters adds them.
  # checkov:skip=CKV_AWS_318: The same; staging has a single node.
  # checkov:skip=CKV_AWS_228: Wants a policy of 2019; this is its successor, with forward secrecy only.
  # checkov:skip=CKV2_AWS_52: It is on. The check also wants users with passwords inside; ours are IAM roles.
  domain_name     = var.name
  engine_version  = var.engine_version
  access_policies = data.aws_iam_policy_document.access.json

  cluster_config {
    instance_type            = var.data_nodes.instance_type
    instance_count           = var.data_nodes.count
    zone_awareness_enabled   = local.several
    dedicated_master_enabled = var.dedicated_masters != null
    dedicated_master_type    = var.dedicated_masters
    dedicated_master_count   = var.dedicated_masters == null ? null : 3

    dynamic "zone_awareness_config" {
      for_each = local.several ? [3] : []

      content {
        availability_zone_count = zone_awareness_config.value
      }
    }
  }

  ebs_options {
    ebs_enabled = true
    volume_type = "gp3"
    volume_size = var.data_nodes.disk_gb
  }

  vpc_options {
    subnet_ids         = local.several ? values(var.subnet_ids) : [values(var.subnet_ids)[0]]
    security_group_ids = [aws_security_group.this.id]
  }

  encrypt_at_rest {
    enabled    = true
    kms_key_id = var.kms_key_arn
  }

  node_to_node_encryption {
    enabled = true
  }

  domain_endpoint_options {
    enforce_https       = true
    tls_security_policy = "Policy-Min-TLS-1-2-PFS-2023-10"
  }

  advanced_security_options {
    enabled                        = true
    anonymous_auth_enabled         = false
    internal_user_database_enabled = false

    master_user_options {
      master_user_arn = aws_iam_role.admin.arn
    }
  }

  log_publishing_options {
    enabled                  = true
    log_type                 = "AUDIT_LOGS"
    cloudwatch_log_group_arn = aws_cloudwatch_log_group.this["audit"].arn
  }

  log_publishing_options {
    log_type                 = "ES_APPLICATION_LOGS"
    cloudwatch_log_group_arn = aws_cloudwatch_log_group.this["application"].arn
  }

  log_publishing_options {
    log_type                 = "INDEX_SLOW_LOGS"
    cloudwatch_log_group_arn = aws_cloudwatch_log_group.this["index-slow"].arn
  }

  log_publishing_options {
    log_type                 = "SEARCH_SLOW_LOGS"
    cloudwatch_log_group_arn = aws_cloudwatch_log_group.this["search-slow"].arn
  }

  software_update_options {
    auto_software_update_enabled = true
  }

  off_peak_window_options {
    enabled = true

    off_peak_window {
      window_start_time {
        hours   = 1
        minutes = 0
      }
    }
  }

  depends_on = [aws_cloudwatch_log_resource_policy.this]
}
