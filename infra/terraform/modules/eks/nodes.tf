# Two kinds of nodes: one group over all zones for what has no disk, and one group in each zone for what has.

data "aws_default_tags" "current" {}

data "aws_iam_policy_document" "node_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "node" {
  name                 = "${var.name}-node"
  description          = "Nodes of ${var.name}: join the cluster and pull images; pods have roles of their own"
  assume_role_policy   = data.aws_iam_policy_document.node_trust.json
  permissions_boundary = var.permissions_boundary_arn
}

# Not the network plugin's policy: that one belongs to its own role (addons.tf).
resource "aws_iam_role_policy_attachment" "node" {
  for_each = toset(["AmazonEKSWorkerNodePolicy", "AmazonEC2ContainerRegistryPullOnly", "AmazonSSMManagedInstanceCore"])

  role       = aws_iam_role.node.name
  policy_arn = "arn:${local.partition}:iam::aws:policy/${each.key}"
}

resource "aws_launch_template" "pool" {
  for_each = {
    services = var.services_pool.disk_gb
    stateful = var.stateful_pool.disk_gb
  }

  name                   = "${var.name}-${each.key}"
  update_default_version = true

  # Version 2 of the metadata service, and no hop further than the node: a pod cannot take the node's role.
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
    instance_metadata_tags      = "disabled"
  }

  block_device_mappings {
    device_name = "/dev/xvda"

    ebs {
      volume_type           = "gp3"
      volume_size           = each.value
      encrypted             = true
      kms_key_id            = var.kms_key_arns.volumes
      delete_on_termination = true
    }
  }

  monitoring {
    enabled = true
  }

  # The provider's default tags do not reach what a launch template makes.
  dynamic "tag_specifications" {
    for_each = toset(["instance", "network-interface", "volume"])

    content {
      resource_type = tag_specifications.value
      tags          = merge(data.aws_default_tags.current.tags, { Name = "${var.name}-${each.key}" })
    }
  }
}

resource "aws_eks_node_group" "services" {
  cluster_name    = aws_eks_cluster.this.name
  node_group_name = "services"
  node_role_arn   = aws_iam_role.node.arn
  subnet_ids      = values(var.subnet_ids)
  version         = var.kubernetes_version
  ami_type        = "AL2023_x86_64_STANDARD"
  instance_types  = var.services_pool.instance_types
  labels          = { "tickbell.dev/pool" = "services" }

  launch_template {
    id      = aws_launch_template.pool["services"].id
    version = aws_launch_template.pool["services"].latest_version
  }

  scaling_config {
    min_size     = var.services_pool.min
    desired_size = var.services_pool.desired
    max_size     = var.services_pool.max
  }

  update_config {
    max_unavailable = 1
  }

  # A node that stays unhealthy is replaced.
  node_repair_config {
    enabled = true
  }

  # The autoscaler moves it afterwards.
  lifecycle {
    ignore_changes = [scaling_config[0].desired_size]
  }

  # Without the network plugin a node never becomes ready; without its policies it never joins.
  depends_on = [aws_eks_addon.before_nodes, aws_iam_role_policy_attachment.node]
}

# One group per zone: a single group over three zones may start a lost node in another zone, where its disk is not.
resource "aws_eks_node_group" "stateful" {
  for_each = var.subnet_ids

  cluster_name    = aws_eks_cluster.this.name
  node_group_name = "stateful-${each.key}"
  node_role_arn   = aws_iam_role.node.arn
  subnet_ids      = [each.value]
  version         = var.kubernetes_version
  ami_type        = "AL2023_x86_64_STANDARD"
  instance_types  = var.stateful_pool.instance_types
  labels          = { "tickbell.dev/pool" = "stateful" }

  taint {
    key    = "tickbell.dev/pool"
    value  = "stateful"
    effect = "NO_SCHEDULE"
  }

  launch_template {
    id      = aws_launch_template.pool["stateful"].id
    version = aws_launch_template.pool["stateful"].latest_version
  }

  scaling_config {
    min_size     = var.stateful_pool.per_zone
    desired_size = var.stateful_pool.per_zone
    max_size     = var.stateful_pool.per_zone + 1
  }

  update_config {
    max_unavailable = 1
  }

  node_repair_config {
    enabled = true
  }

  depends_on = [aws_eks_addon.before_nodes, aws_iam_role_policy_attachment.node]
}
