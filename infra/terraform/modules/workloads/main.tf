# A role for every workload that talks to AWS, each bound to one service account and nothing wider than its work.
# Of Tickbell's own services the archiver and the gateway are among them, which write and read the archive: the others talk to NATS,
# PostgreSQL and a mail relay.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  region    = data.aws_region.current.region

  asgs = "arn:${local.partition}:autoscaling:${local.region}:${local.account}"

  # Role -> the service account that assumes it, and its policy.
  roles = {
    archiver = {
      service_account = "tickbell:archiver"
      policy          = data.aws_iam_policy_document.archiver.json
    }
    aws-load-balancer-controller = {
      service_account = "kube-system:aws-load-balancer-controller"
      policy          = data.aws_iam_policy_document.load_balancer_controller.json
    }
    cluster-autoscaler = {
      service_account = "kube-system:cluster-autoscaler"
      policy          = data.aws_iam_policy_document.cluster_autoscaler.json
    }
    external-dns = {
      service_account = "external-dns:external-dns"
      policy          = data.aws_iam_policy_document.external_dns.json
    }
    external-secrets = {
      service_account = "external-secrets:external-secrets"
      policy          = data.aws_iam_policy_document.external_secrets.json
    }
    fluent-bit = {
      service_account = "monitoring:fluent-bit"
      policy          = data.aws_iam_policy_document.fluent_bit.json
    }
    gateway = {
      service_account = "tickbell:gateway"
      policy          = data.aws_iam_policy_document.gateway.json
    }
    # CloudNativePG names the service account like the cluster. Its Barman backups are this bucket's reason.
    postgres-backup = {
      service_account = "tickbell:tickbell-postgres"
      policy          = data.aws_iam_policy_document.postgres_backup.json
    }
  }
}

module "role" {
  source   = "../irsa"
  for_each = local.roles

  name                     = "${var.name}-${each.key}"
  oidc                     = var.oidc
  service_account          = [each.value.service_account]
  policy                   = each.value.policy
  permissions_boundary_arn = var.permissions_boundary_arn
}

data "aws_iam_policy_document" "external_secrets" {
  statement {
    sid       = "ReadSecretsOfThisEnvironment"
    actions   = ["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"]
    resources = [var.secrets_arn_pattern]
  }

  statement {
    sid       = "DecryptThem"
    actions   = ["kms:Decrypt"]
    resources = [var.secrets_kms_key_arn]

    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["secretsmanager.${local.region}.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "external_dns" {
  statement {
    sid       = "WriteRecords"
    actions   = ["route53:ChangeResourceRecordSets"]
    resources = [var.zone.arn]

    # Terraform manages the public addresses and the records that validate certificates.
    condition {
      test     = "ForAllValues:StringNotEquals"
      variable = "route53:ChangeResourceRecordSetsNormalizedRecordNames"
      values   = var.reserved_records
    }

    condition {
      test     = "ForAllValues:StringLike"
      variable = "route53:ChangeResourceRecordSetsNormalizedRecordNames"
      values   = ["*.${var.zone.name}"]
    }
  }

  statement {
    sid       = "ReadRecords"
    actions   = ["route53:ListResourceRecordSets", "route53:ListTagsForResources"]
    resources = [var.zone.arn]
  }

  statement {
    sid       = "FindTheZone"
    actions   = ["route53:ListHostedZones"]
    resources = ["*"]
  }
}

data "aws_iam_policy_document" "archiver" {
  statement {
    sid       = "WriteAndReadTheArchive"
    actions   = ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
    resources = ["${var.archive_bucket_arn}/history/*"]
  }

  statement {
    sid       = "ListTheArchive"
    actions   = ["s3:ListBucket"]
    resources = [var.archive_bucket_arn]

    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = ["history/*"]
    }
  }

  statement {
    sid       = "EncryptTheArchive"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [var.archive_kms_key_arn]
  }
}

data "aws_iam_policy_document" "gateway" {
  statement {
    sid       = "ReadTheArchive"
    actions   = ["s3:GetObject"]
    resources = ["${var.archive_bucket_arn}/history/*"]
  }

  # Without it S3 answers that a file which is not there is forbidden.
  statement {
    sid       = "ListTheArchive"
    actions   = ["s3:ListBucket"]
    resources = [var.archive_bucket_arn]

    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = ["history/*"]
    }
  }

  statement {
    sid       = "DecryptTheArchive"
    actions   = ["kms:Decrypt"]
    resources = [var.archive_kms_key_arn]
  }
}

data "aws_iam_policy_document" "postgres_backup" {
  statement {
    sid       = "WriteAndReadBackups"
    actions   = ["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
    resources = ["${var.backup_bucket_arn}/postgres/*"]
  }

  statement {
    sid       = "ListBackups"
    actions   = ["s3:ListBucket"]
    resources = [var.backup_bucket_arn]

    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = ["", "postgres", "postgres/*"]
    }
  }

  statement {
    sid       = "EncryptBackups"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [var.backup_kms_key_arn]
  }
}

data "aws_iam_policy_document" "fluent_bit" {
  statement {
    sid       = "WriteLogs"
    actions   = ["es:ESHttpPost"]
    resources = ["${var.search_domain_arn}/_bulk", "${var.search_domain_arn}/*/_bulk"]
  }
}

data "aws_iam_policy_document" "cluster_autoscaler" {
  # checkov:skip=CKV_AWS_356: Only for read actions that support no resources.
  statement {
    sid     = "ResizePools"
    actions = ["autoscaling:SetDesiredCapacity", "autoscaling:TerminateInstanceInAutoScalingGroup"]
    resources = [
      for name in var.asg_names : "${local.asgs}:autoScalingGroup:*:autoScalingGroupName/${name}"
    ]
  }

  # None of these can be narrowed; all of them only read.
  statement {
    sid = "SeePools"
    actions = [
      "autoscaling:DescribeAutoScalingGroups",
      "autoscaling:DescribeAutoScalingInstances",
      "autoscaling:DescribeLaunchConfigurations",
      "autoscaling:DescribeScalingActivities",
      "autoscaling:DescribeTags",
      "ec2:DescribeImages",
      "ec2:DescribeInstanceTypes",
      "ec2:DescribeLaunchTemplateVersions",
      "ec2:GetInstanceTypesFromInstanceRequirements",
      "eks:DescribeNodegroup",
    ]
    resources = ["*"]
  }
}
