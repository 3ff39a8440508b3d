# What a pipeline may do to this environment once it stands: deploy to the cluster, and release the dashboard and the page of prices.
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

# Registers a revision of the idle copy's task, runs it once, and switches the pointer.
data "aws_iam_policy_document" "deploy_site" {
  # checkov:skip=CKV_AWS_356: Only for actions that support no resources.
  # checkov:skip=CKV_AWS_111: The same: a revision can only be run with the roles and the cluster below.
  count = var.site == null ? 0 : 1

  # These actions support no resources.
  statement {
    sid       = "RegisterTheTask"
    actions   = ["ecs:DeregisterTaskDefinition", "ecs:DescribeTaskDefinition", "ecs:RegisterTaskDefinition"]
    resources = ["*"]
  }

  statement {
    sid     = "RunTheTask"
    actions = ["ecs:DescribeTasks", "ecs:RunTask"]
    resources = concat(
      [for arn in values(module.site_task[0].families) : "${arn}:*"],
      ["arn:${local.partition}:ecs:${local.region}:${local.account}:task/${module.site_task[0].cluster.name}/*"],
    )

    condition {
      test     = "ArnEquals"
      variable = "ecs:cluster"
      values   = [module.site_task[0].cluster.arn]
    }
  }

  statement {
    sid       = "GiveItItsRoles"
    actions   = ["iam:PassRole"]
    resources = module.site_task[0].passed_role_arns

    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["ecs-tasks.amazonaws.com"]
    }
  }

  statement {
    sid       = "SeeWhereTheTaskRuns"
    actions   = ["events:ListTargetsByRule"]
    resources = ["arn:${local.partition}:events:${local.region}:${local.account}:rule/${local.name}-site-*"]
  }

  statement {
    sid       = "SwitchTheCopies"
    actions   = ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
    resources = ["${module.site[0].bucket.arn}/index.html"]
  }

  statement {
    sid       = "CheckTheCopies"
    actions   = ["s3:GetObject"]
    resources = ["${module.site[0].bucket.arn}/*"]
  }

  statement {
    sid       = "SeeWhatIsNotThere"
    actions   = ["s3:ListBucket"]
    resources = [module.site[0].bucket.arn]
  }
}

module "deploy_role" {
  source = "../iam"

  name        = "${local.name}-deploy"
  description = "Deploys Tickbell to ${var.environment}"

  policies = merge(
    { deploy = data.aws_iam_policy_document.deploy.json },
    { for document in data.aws_iam_policy_document.deploy_site : "site" => document.json },
  )

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
