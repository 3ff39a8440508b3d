# Add-ons at exact versions. What changes one by hand in the cluster is put back by the next apply.

module "vpc_cni_role" {
  source = "../irsa"

  name                     = "${var.name}-vpc-cni"
  oidc                     = local.oidc
  service_account          = ["kube-system:aws-node"]
  has_policy               = false
  managed_policy_arns      = ["arn:${local.partition}:iam::aws:policy/AmazonEKS_CNI_Policy"]
  permissions_boundary_arn = var.permissions_boundary_arn
}

data "aws_iam_policy_document" "ebs_csi" {
  # The managed policy below allows the volumes; this allows the key that encrypts them.
  statement {
    sid       = "EncryptVolumes"
    actions   = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"]
    resources = [var.kms_key_arns.volumes]
  }

  statement {
    sid       = "AttachEncryptedVolumes"
    actions   = ["kms:CreateGrant"]
    resources = [var.kms_key_arns.volumes]

    condition {
      test     = "Bool"
      variable = "kms:GrantIsForAWSResource"
      values   = ["true"]
    }
  }
}

module "ebs_csi_role" {
  source = "../irsa"

  name            = "${var.name}-ebs-csi"
  oidc            = local.oidc
  service_account = ["kube-system:ebs-csi-controller-sa"]
  policy          = data.aws_iam_policy_document.ebs_csi.json
  managed_policy_arns = [
    "arn:${local.partition}:iam::aws:policy/service-role/AmazonEBSCSIDriverPolicy",
  ]
  permissions_boundary_arn = var.permissions_boundary_arn
}

locals {
  before_nodes = {
    kube-proxy = {}
    # Without enableNetworkPolicy every NetworkPolicy of the cluster is silently ignored.
    vpc-cni = {
      enableNetworkPolicy = "true"
      env                 = { ENABLE_PREFIX_DELEGATION = "true" }
    }
  }

  # The driver's node part runs on every node by its own tolerations; these place what runs once or twice.
  after_nodes = {
    aws-ebs-csi-driver = { controller = { extraVolumeTags = data.aws_default_tags.current.tags } }
    coredns            = { replicaCount = 3 }
    metrics-server     = { replicas = 2 }
  }

  role_arns = {
    aws-ebs-csi-driver = module.ebs_csi_role.arn
    vpc-cni            = module.vpc_cni_role.arn
  }
}

resource "aws_eks_addon" "before_nodes" {
  for_each = local.before_nodes

  cluster_name                = aws_eks_cluster.this.name
  addon_name                  = each.key
  addon_version               = var.addon_versions[each.key]
  configuration_values        = jsonencode(each.value)
  service_account_role_arn    = lookup(local.role_arns, each.key, null)
  resolve_conflicts_on_create = "OVERWRITE"
  resolve_conflicts_on_update = "OVERWRITE"
}

resource "aws_eks_addon" "after_nodes" {
  for_each = local.after_nodes

  cluster_name                = aws_eks_cluster.this.name
  addon_name                  = each.key
  addon_version               = var.addon_versions[each.key]
  configuration_values        = jsonencode(each.value)
  service_account_role_arn    = lookup(local.role_arns, each.key, null)
  resolve_conflicts_on_create = "OVERWRITE"
  resolve_conflicts_on_update = "OVERWRITE"

  depends_on = [aws_eks_node_group.services]
}
