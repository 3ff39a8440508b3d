# The control plane, its access entries, and the identity provider behind IRSA.

data "aws_partition" "current" {}

locals {
  partition = data.aws_partition.current.partition
}

resource "aws_cloudwatch_log_group" "this" {
  name              = "/aws/eks/${var.name}/cluster"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arns.logs
}

data "aws_iam_policy_document" "cluster_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["eks.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "cluster" {
  statement {
    sid       = "EncryptSecrets"
    actions   = ["kms:CreateGrant", "kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:ListGrants"]
    resources = [var.kms_key_arns.cluster]
  }
}

resource "aws_iam_role" "cluster" {
  name                 = "${var.name}-cluster"
  description          = "The control plane of ${var.name}"
  assume_role_policy   = data.aws_iam_policy_document.cluster_trust.json
  permissions_boundary = var.permissions_boundary_arn
}

resource "aws_iam_role_policy" "cluster" {
  name   = "encrypt-secrets"
  role   = aws_iam_role.cluster.id
  policy = data.aws_iam_policy_document.cluster.json
}

resource "aws_iam_role_policy_attachment" "cluster" {
  role       = aws_iam_role.cluster.name
  policy_arn = "arn:${local.partition}:iam::aws:policy/AmazonEKSClusterPolicy"
}

resource "aws_eks_cluster" "this" {
  name                          = var.name
  version                       = var.kubernetes_version
  role_arn                      = aws_iam_role.cluster.arn
  enabled_cluster_log_types     = ["api", "audit", "authenticator", "controllerManager", "scheduler"]
  bootstrap_self_managed_addons = false
  deletion_protection           = var.deletion_protection

  vpc_config {
    subnet_ids              = values(var.subnet_ids)
    endpoint_private_access = true
    # checkov:skip=CKV_AWS_39: Closed unless ranges are named, and these are /24 at most (a validation says so).
    endpoint_public_access = length(var.public_access_cidrs) > 0
    public_access_cidrs    = length(var.public_access_cidrs) > 0 ? var.public_access_cidrs : null
  }

  # Entries only; no aws-auth ConfigMap that one wrong line locks everybody out with.
  access_config {
    authentication_mode                         = "API"
    bootstrap_cluster_creator_admin_permissions = false
  }

  encryption_config {
    resources = ["secrets"]

    provider {
      key_arn = var.kms_key_arns.cluster
    }
  }

  # Upgrades itself at the end of standard support rather than costing six times as much unnoticed.
  upgrade_policy {
    support_type = "STANDARD"
  }

  # AWS may shift traffic away from a zone that is in trouble.
  zonal_shift_config {
    enabled = true
  }

  depends_on = [
    aws_cloudwatch_log_group.this,
    aws_iam_role_policy.cluster,
    aws_iam_role_policy_attachment.cluster,
  ]
}

resource "aws_iam_openid_connect_provider" "this" {
  url            = aws_eks_cluster.this.identity[0].oidc[0].issuer
  client_id_list = ["sts.amazonaws.com"]
}

locals {
  oidc = {
    arn    = aws_iam_openid_connect_provider.this.arn
    issuer = trimprefix(aws_eks_cluster.this.identity[0].oidc[0].issuer, "https://")
  }
}

resource "aws_eks_access_entry" "admin" {
  for_each = toset(var.admin_role_arns)

  cluster_name  = aws_eks_cluster.this.name
  principal_arn = each.key
}

resource "aws_eks_access_policy_association" "admin" {
  for_each = toset(var.admin_role_arns)

  cluster_name  = aws_eks_cluster.this.name
  principal_arn = aws_eks_access_entry.admin[each.key].principal_arn
  policy_arn    = "arn:${local.partition}:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"

  access_scope {
    type = "cluster"
  }
}

# No policy of AWS: what a group may do is written in the cluster, where custom resources have names too.
resource "aws_eks_access_entry" "group" {
  for_each = merge([
    for group, arns in var.group_role_arns : {
      for position, arn in arns : "${group}-${position}" => { group = group, arn = arn }
    }
  ]...)

  cluster_name      = aws_eks_cluster.this.name
  principal_arn     = each.value.arn
  kubernetes_groups = [each.value.group]
}
