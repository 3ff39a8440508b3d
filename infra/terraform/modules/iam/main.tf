# A role for one step of a pipeline. GitHub or GitLab vouches for the job by a signed token, which is exchanged for
# an hour of access: there is no key to steal, and a job of another repository, environment or branch gets nothing.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}

locals {
  account      = data.aws_caller_identity.current.account_id
  providers    = "arn:${data.aws_partition.current.partition}:iam::${local.account}:oidc-provider"
  github_token = "token.actions.githubusercontent.com"
}

data "aws_iam_policy_document" "trust" {
  dynamic "statement" {
    for_each = var.github == null ? [] : [var.github]

    content {
      sid     = "GitHubActions"
      actions = ["sts:AssumeRoleWithWebIdentity"]

      principals {
        type        = "Federated"
        identifiers = ["${local.providers}/${local.github_token}"]
      }

      condition {
        test     = "StringEquals"
        variable = "${local.github_token}:aud"
        values   = ["sts.amazonaws.com"]
      }

      condition {
        test     = "StringEquals"
        variable = "${local.github_token}:sub"
        values   = ["repo:${statement.value.repository}:environment:${statement.value.environment}"]
      }
    }
  }

  # GitLab's subject names the ref, not the environment; protect the branch and the tags there.
  dynamic "statement" {
    for_each = var.gitlab == null ? [] : [var.gitlab]

    content {
      sid     = "GitLabCI"
      actions = ["sts:AssumeRoleWithWebIdentity"]

      principals {
        type        = "Federated"
        identifiers = ["${local.providers}/${var.gitlab_host}"]
      }

      condition {
        test     = "StringEquals"
        variable = "${var.gitlab_host}:aud"
        values   = ["https://${var.gitlab_host}"]
      }

      condition {
        test     = "StringLike"
        variable = "${var.gitlab_host}:sub"
        values = [
          for ref in statement.value.refs :
          "project_path:${statement.value.project}:ref_type:${ref.type}:ref:${ref.name}"
        ]
      }
    }
  }
}

resource "aws_iam_role" "this" {
  name                 = var.name
  description          = var.description
  assume_role_policy   = data.aws_iam_policy_document.trust.json
  permissions_boundary = var.permissions_boundary_arn
  max_session_duration = var.session_hours * 3600

  lifecycle {
    precondition {
      condition     = var.github != null || var.gitlab != null
      error_message = "At least one principal must be able to assume the role."
    }
  }
}

resource "aws_iam_role_policy" "this" {
  for_each = var.policies

  name   = each.key
  role   = aws_iam_role.this.id
  policy = each.value
}

resource "aws_iam_role_policy_attachment" "this" {
  for_each = toset(var.managed_policy_arns)

  role       = aws_iam_role.this.name
  policy_arn = each.key
}
