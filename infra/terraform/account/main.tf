# What an account has once, whatever runs in it: the state's bucket, the image's repository, the providers that vouch
# for pipelines, and the ceiling of every role. It is applied by hand, not by a pipeline, because it defines the pipeline's own rights.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
}

module "keys" {
  source = "../modules/kms"

  name = "tickbell"

  purposes = {
    images = { description = "images" }
    state  = { description = "Terraform's state" }
  }
}

# Every change of the state is a version, and a lock is an object beside it that S3 writes only once.
module "state" {
  source = "../modules/bucket"

  name              = "tickbell-state-${local.account}"
  kms_key_arn       = module.keys.arns["state"]
  old_versions_days = 365
  access_log_bucket = module.logs.name
}

data "aws_iam_policy_document" "log_delivery" {
  statement {
    sid       = "BucketsLogTheirAccess"
    actions   = ["s3:PutObject"]
    resources = ["arn:${local.partition}:s3:::tickbell-logs-${local.account}/s3/*"]

    principals {
      type        = "Service"
      identifiers = ["logging.s3.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
}

module "logs" {
  source = "../modules/bucket"

  name              = "tickbell-logs-${local.account}"
  policy_documents  = [data.aws_iam_policy_document.log_delivery.json]
  expire_after_days = 365
  old_versions_days = 7
}

module "images" {
  source = "../modules/ecr"

  name            = "tickbell"
  kms_key_arn     = module.keys.arns["images"]
  reader_accounts = var.image_reader_accounts
}

# Whatever a volume is made by, it is encrypted.
resource "aws_ebs_encryption_by_default" "this" {
  enabled = true
}

# No bucket of this account can be made public, by whatever policy.
resource "aws_s3_account_public_access_block" "this" {
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

# AWS makes these roles when a service is first used from the console; a key's policy names the first of them before.
resource "aws_iam_service_linked_role" "this" {
  for_each = toset(["autoscaling.amazonaws.com", "opensearchservice.amazonaws.com"])

  aws_service_name = each.key
}

resource "aws_iam_openid_connect_provider" "github" {
  count = var.repositories.github == null ? 0 : 1

  url            = "https://token.actions.githubusercontent.com"
  client_id_list = ["sts.amazonaws.com"]
}

resource "aws_iam_openid_connect_provider" "gitlab" {
  count = var.repositories.gitlab == null ? 0 : 1

  url            = "https://gitlab.com"
  client_id_list = ["https://gitlab.com"]
}

# Learns the usual costs of each service and reports anomalies.
resource "aws_ce_anomaly_monitor" "this" {
  name              = "tickbell-services"
  monitor_type      = "DIMENSIONAL"
  monitor_dimension = "SERVICE"
}

resource "aws_ce_anomaly_subscription" "this" {
  name             = "tickbell-services"
  frequency        = "DAILY"
  monitor_arn_list = [aws_ce_anomaly_monitor.this.arn]

  dynamic "subscriber" {
    for_each = var.alarm_emails

    content {
      type    = "EMAIL"
      address = subscriber.value
    }
  }

  threshold_expression {
    dimension {
      key           = "ANOMALY_TOTAL_IMPACT_ABSOLUTE"
      match_options = ["GREATER_THAN_OR_EQUAL"]
      values        = [tostring(var.anomaly_usd)]
    }
  }
}
