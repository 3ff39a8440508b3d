# What a pipeline may do to this environment once it stands: deploy to the cluster, and release the dashboard.
# The role that changes the infrastructure itself belongs to the account (infra/terraform/account).

data "aws_iam_policy_document" "deploy" {
  statement {
    sid       = "FindTheCluster"
    actions   = ["eks:DescribeCluster"]
    resources = ["arn:${local.partition}:eks:${local.region}:${local.account}:cluster/${local.name}"]
  }

  statement {
    sid       = "ReleaseTheDashboard"
    actions   = ["s3:DeleteObject", "s3:PutObject"]
    resources = ["${module.dashboard.bucket.arn}/*"]
  }

  statement {
    sid       = "CompareTheDashboard"
    actions   = ["s3:ListBucket"]
    resources = [module.dashboard.bucket.arn]
  }

  statement {
    sid       = "ShowTheNewDashboard"
    actions   = ["cloudfront:CreateInvalidation"]
    resources = [module.dashboard.distribution_arn]
  }
}

module "deploy_role" {
  source = "../iam"

  name        = "${local.name}-deploy"
  description = "Deploys Tickbell to ${var.environment}"
  policies    = { deploy = data.aws_iam_policy_document.deploy.json }

  github = var.repositories.github == null ? null : {
    repository  = var.repositories.github
    environment = var.environment
  }

  # A tag goes through staging too, so that runs from both; production from tags only. Protect both in GitLab.
  gitlab = var.repositories.gitlab == null ? null : {
    project = var.repositories.gitlab
    refs = concat(
      [{ type = "tag", name = "v*" }],
      var.environment == "production" ? [] : [{ type = "branch", name = "main" }],
    )
  }

  permissions_boundary_arn = local.boundary
}
