# Logs of AWS's own services, and backups.

data "aws_iam_policy_document" "log_delivery" {
  # checkov:skip=CKV_AWS_283: The principals are services of AWS, each bound to this account.
  statement {
    sid       = "BucketsLogTheirAccess"
    actions   = ["s3:PutObject"]
    resources = ["arn:${local.partition}:s3:::${local.log_bucket}/s3/*"]

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

  statement {
    sid     = "FlowLogsAndCloudFront"
    actions = ["s3:PutObject"]
    resources = [
      "arn:${local.partition}:s3:::${local.log_bucket}/flow/*", "arn:${local.partition}:s3:::${local.log_bucket}/cdn/*",
    ]

    principals {
      type        = "Service"
      identifiers = ["delivery.logs.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }

  statement {
    sid       = "TheyLookFirst"
    actions   = ["s3:GetBucketAcl", "s3:ListBucket"]
    resources = ["arn:${local.partition}:s3:::${local.log_bucket}"]

    principals {
      type        = "Service"
      identifiers = ["delivery.logs.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }

  # The path is the guard: the balancer writes below the number of its own account.
  statement {
    sid       = "LoadBalancer"
    actions   = ["s3:PutObject"]
    resources = ["arn:${local.partition}:s3:::${local.log_bucket}/alb/AWSLogs/${local.account}/*"]

    principals {
      type        = "Service"
      identifiers = ["logdelivery.elasticloadbalancing.amazonaws.com"]
    }
  }
}

locals {
  log_bucket = "${local.name}-logs-${local.account}"
}

module "logs" {
  source = "../bucket"

  name                  = local.log_bucket
  policy_documents      = [data.aws_iam_policy_document.log_delivery.json]
  archive_after_days    = var.log_retention_days > 60 ? 30 : 0
  expire_after_days     = var.log_retention_days
  old_versions_days     = 7
  destroy_with_contents = !var.protected
}

# Dumps and Barman's backups, where CloudNativePG is used. Nothing can be removed before its week is over, by a wrong
# hand or by a wrong role.
module "backups" {
  source = "../bucket"

  name                  = "${local.name}-backups-${local.account}"
  kms_key_arn           = module.keys.arns["backups"]
  access_log_bucket     = module.logs.name
  archive_after_days    = 30
  expire_after_days     = 365
  lock_days             = var.protected ? 7 : 0
  destroy_with_contents = !var.protected
}

# The history as files, which the archiver writes. What is older than the database keeps is nowhere else, so nothing expires. It has no
# object lock: the archiver takes back a part that no manifest states, and what is removed can be restored for a month.
module "archive" {
  source = "../bucket"

  name                  = "${local.name}-archive-${local.account}"
  kms_key_arn           = module.keys.arns["archive"]
  access_log_bucket     = module.logs.name
  archive_after_days    = 30
  destroy_with_contents = !var.protected
}

# RDS copies its own backups and write-ahead log, so that the database survives its region.
module "copy_key" {
  source = "../kms"
  count  = var.backup_copy_region == null ? 0 : 1

  name                 = local.name
  region               = var.backup_copy_region
  deletion_window_days = var.protected ? 30 : 7
  purposes             = { backups = { description = "copies of the database's backups" } }
}

resource "aws_db_instance_automated_backups_replication" "this" {
  count = var.backup_copy_region == null ? 0 : 1

  region                 = var.backup_copy_region
  source_db_instance_arn = module.database.arn
  kms_key_id             = module.copy_key[0].arns["backups"]
  retention_period       = var.database.backup_days
}
