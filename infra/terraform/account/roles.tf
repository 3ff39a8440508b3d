# Roles of the pipelines that change infrastructure. `plan` reads; `apply` writes, and only after the environment's
# reviewers have approved; `image` pushes the image. What deploys to a running cluster is a role of the environment.

locals {
  state_key = { for name in var.environments : name => "${name}/terraform.tfstate" }
  boundary  = aws_iam_policy.boundary.arn
  roles     = "arn:${local.partition}:iam::${local.account}:role"

  github = var.repositories.github == null ? null : { repository = var.repositories.github }
  gitlab = var.repositories.gitlab

  # Refs of GitLab that may take the role of an environment.
  refs = {
    staging    = [{ type = "branch", name = "main" }, { type = "tag", name = "v*" }]
    production = [{ type = "tag", name = "v*" }]
  }
}

# The ceiling: whatever policies a role has, it can do none of the denied. It gives nothing by itself.
data "aws_iam_policy_document" "boundary" {
  # checkov:skip=CKV_AWS_1: A boundary allows nothing; roles have policies of their own.
  # checkov:skip=CKV_AWS_107: A boundary allows nothing; roles have policies of their own.
  # checkov:skip=CKV_AWS_108: The same.
  # checkov:skip=CKV_AWS_109: The same.
  # checkov:skip=CKV_AWS_110: The same.
  # checkov:skip=CKV_AWS_111: The same.
  # checkov:skip=CKV_AWS_356: The same.
  # checkov:skip=CKV_AWS_49: The same.
  # checkov:skip=CKV2_AWS_40: The same.
  statement {
    sid       = "WhatPoliciesAllow"
    actions   = ["*"]
    resources = ["*"]
  }

  statement {
    sid    = "NoStaticKeys"
    effect = "Deny"
    actions = [
      "iam:CreateAccessKey",
      "iam:CreateLoginProfile",
      "iam:CreateServiceSpecificCredential",
      "iam:CreateUser",
      "iam:UpdateAccessKey",
      "iam:UpdateLoginProfile",
    ]
    resources = ["*"]
  }

  statement {
    sid    = "NoChangeOfTheRulesThemselves"
    effect = "Deny"
    actions = [
      "iam:CreatePolicyVersion",
      "iam:DeletePolicy",
      "iam:DeletePolicyVersion",
      "iam:DeleteRolePermissionsBoundary",
      "iam:SetDefaultPolicyVersion",
    ]
    resources = ["arn:${local.partition}:iam::${local.account}:policy/tickbell-boundary", "${local.roles}/*"]
  }

  statement {
    sid    = "NoChangeOfThePipelinesRoles"
    effect = "Deny"
    actions = [
      "iam:AttachRolePolicy",
      "iam:DeleteRole",
      "iam:DeleteRolePolicy",
      "iam:DetachRolePolicy",
      "iam:PutRolePermissionsBoundary",
      "iam:PutRolePolicy",
      "iam:UpdateAssumeRolePolicy",
    ]
    resources = ["${local.roles}/tickbell-*-apply", "${local.roles}/tickbell-*-plan", "${local.roles}/tickbell-image"]
  }

  statement {
    sid       = "NoRoleAboveTheCeiling"
    effect    = "Deny"
    actions   = ["iam:AttachRolePolicy", "iam:CreateRole", "iam:PutRolePermissionsBoundary", "iam:PutRolePolicy"]
    resources = ["*"]

    condition {
      test     = "StringNotEquals"
      variable = "iam:PermissionsBoundary"
      values   = ["arn:${local.partition}:iam::${local.account}:policy/tickbell-boundary"]
    }
  }

  statement {
    sid       = "NotTheAccountItself"
    effect    = "Deny"
    actions   = ["account:*", "organizations:*"]
    resources = ["*"]
  }
}

resource "aws_iam_policy" "boundary" {
  # checkov:skip=CKV_AWS_62: A boundary allows nothing; roles have policies of their own.
  # checkov:skip=CKV_AWS_286: The same.
  # checkov:skip=CKV_AWS_287: The same.
  # checkov:skip=CKV_AWS_288: The same.
  # checkov:skip=CKV_AWS_289: The same.
  # checkov:skip=CKV_AWS_290: The same.
  # checkov:skip=CKV_AWS_355: The same.
  # checkov:skip=CKV2_AWS_40: The same.
  name        = "tickbell-boundary"
  description = "The most that any role of Tickbell may do"
  policy      = data.aws_iam_policy_document.boundary.json
}

data "aws_iam_policy_document" "state" {
  for_each = var.environments

  statement {
    sid       = "FindTheState"
    actions   = ["s3:ListBucket"]
    resources = [module.state.arn]

    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = ["${local.state_key[each.key]}*"]
    }
  }

  statement {
    sid       = "ReadTheState"
    actions   = ["s3:GetObject"]
    resources = ["${module.state.arn}/${local.state_key[each.key]}"]
  }

  statement {
    sid       = "LockTheState"
    actions   = ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
    resources = ["${module.state.arn}/${local.state_key[each.key]}.tflock"]
  }

  statement {
    sid       = "DecryptTheState"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [module.keys.arns["state"]]
  }
}

# A plan looks at resources. It needs no data that lies in them.
data "aws_iam_policy_document" "plan" {
  statement {
    sid    = "NoData"
    effect = "Deny"
    actions = [
      "athena:GetQueryResults",
      "dynamodb:GetItem",
      "dynamodb:Query",
      "dynamodb:Scan",
      "es:ESHttp*",
      "kinesis:GetRecords",
      "logs:FilterLogEvents",
      "logs:GetLogEvents",
      "logs:StartQuery",
      "rds:DownloadDBLogFilePortion",
      "secretsmanager:GetSecretValue",
      "sqs:ReceiveMessage",
      "ssm:GetParameter*",
    ]
    resources = ["*"]
  }

  statement {
    sid           = "NoObjectsButTheState"
    effect        = "Deny"
    actions       = ["s3:GetObject", "s3:GetObjectVersion"]
    not_resources = ["${module.state.arn}/*"]
  }
}

data "aws_iam_policy_document" "apply" {
  for_each = var.environments

  statement {
    sid       = "WriteTheState"
    actions   = ["s3:PutObject"]
    resources = ["${module.state.arn}/${local.state_key[each.key]}"]
  }

  # Roles of this environment, all of which need the permissions boundary.
  statement {
    sid = "RolesOfThisEnvironment"
    actions = [
      "iam:AttachRolePolicy",
      "iam:CreateRole",
      "iam:DeleteRole",
      "iam:DeleteRolePolicy",
      "iam:DetachRolePolicy",
      "iam:PassRole",
      "iam:PutRolePolicy",
      "iam:TagRole",
      "iam:UntagRole",
      "iam:UpdateAssumeRolePolicy",
      "iam:UpdateRole",
      "iam:UpdateRoleDescription",
    ]
    resources = ["${local.roles}/tickbell-${each.key}-*"]
  }

  statement {
    sid = "ProvidersOfClusters"
    actions = [
      "iam:CreateOpenIDConnectProvider",
      "iam:DeleteOpenIDConnectProvider",
      "iam:TagOpenIDConnectProvider",
      "iam:UntagOpenIDConnectProvider",
      "iam:UpdateOpenIDConnectProviderThumbprint",
    ]
    resources = ["arn:${local.partition}:iam::${local.account}:oidc-provider/oidc.eks.*"]
  }

  statement {
    sid       = "SeeRolesAndProviders"
    actions   = ["iam:Get*", "iam:List*"]
    resources = ["*"]
  }

  # Where one account holds both environments, at least what carries the other's tag is safe.
  statement {
    sid       = "NotTheOtherEnvironment"
    effect    = "Deny"
    actions   = ["*"]
    resources = ["*"]

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/Environment"
      values   = setsubtract(["production", "staging"], [each.key])
    }
  }

  # It uses the state's key and pulls the image; the other resources of the account are changed by hand.
  statement {
    sid    = "NotTheAccountsOwn"
    effect = "Deny"
    not_actions = [
      "ecr:BatchGetImage",
      "ecr:Describe*",
      "ecr:GetDownloadUrlForLayer",
      "kms:Decrypt",
      "kms:Describe*",
      "kms:GenerateDataKey",
    ]
    resources = ["*"]

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/Environment"
      values   = ["account"]
    }
  }

  # fill-secrets writes the values of secrets by hand, and the cluster reads them.
  statement {
    sid       = "NoSecretValues"
    effect    = "Deny"
    actions   = ["secretsmanager:GetSecretValue", "secretsmanager:PutSecretValue"]
    resources = ["*"]
  }
}

module "plan_role" {
  source   = "../modules/iam"
  for_each = var.environments

  name                     = "tickbell-${each.key}-plan"
  description              = "Plans changes of ${each.key}; changes nothing"
  github                   = local.github == null ? null : merge(local.github, { environment = "${each.key}-plan" })
  gitlab                   = local.gitlab == null ? null : { project = local.gitlab, refs = local.refs[each.key] }
  managed_policy_arns      = ["arn:${local.partition}:iam::aws:policy/ReadOnlyAccess"]
  permissions_boundary_arn = local.boundary

  policies = {
    no-data = data.aws_iam_policy_document.plan.json
    state   = data.aws_iam_policy_document.state[each.key].json
  }
}

# PowerUserAccess is everything but IAM; the rest of what it needs is said above.
module "apply_role" {
  source   = "../modules/iam"
  for_each = var.environments

  name                     = "tickbell-${each.key}-apply"
  description              = "Changes ${each.key}, after its reviewers have agreed"
  github                   = local.github == null ? null : merge(local.github, { environment = each.key })
  gitlab                   = local.gitlab == null ? null : { project = local.gitlab, refs = local.refs[each.key] }
  managed_policy_arns      = ["arn:${local.partition}:iam::aws:policy/PowerUserAccess"]
  session_hours            = 2
  permissions_boundary_arn = local.boundary

  policies = {
    infrastructure = data.aws_iam_policy_document.apply[each.key].json
    state          = data.aws_iam_policy_document.state[each.key].json
  }
}

data "aws_iam_policy_document" "image" {
  statement {
    sid = "PushTheImage"
    actions = [
      "ecr:BatchCheckLayerAvailability",
      "ecr:BatchGetImage",
      "ecr:CompleteLayerUpload",
      "ecr:DescribeImages",
      "ecr:GetDownloadUrlForLayer",
      "ecr:InitiateLayerUpload",
      "ecr:PutImage",
      "ecr:UploadLayerPart",
    ]
    resources = [module.images.arn]
  }

  # This action supports no resources.
  statement {
    sid       = "LogIn"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }
}

module "image_role" {
  source = "../modules/iam"

  name                     = "tickbell-image"
  description              = "Pushes the image that the main branch or a tag has built"
  github                   = local.github == null ? null : merge(local.github, { environment = "image" })
  gitlab                   = local.gitlab == null ? null : { project = local.gitlab, refs = local.refs["staging"] }
  policies                 = { push = data.aws_iam_policy_document.image.json }
  permissions_boundary_arn = local.boundary
}
