# The page of prices without a cluster of Kubernetes: a task of Fargate for each copy asks an API for prices, adds them to those of the
# page before and writes the copy, every few minutes. A task is started with a new commit for one colour at a time
# (`make site-deploy`), so that the other one still runs what was tried.

locals {
  colours   = toset(["blue", "green"])
  partition = data.aws_partition.current.partition
  account   = data.aws_caller_identity.current.account_id
  region    = data.aws_region.current.region
}

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

resource "aws_ecs_cluster" "this" {
  name = var.name

  setting {
    name  = "containerInsights"
    value = "enabled"
  }
}

resource "aws_cloudwatch_log_group" "this" {
  name              = "/ecs/${var.name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.log_kms_key_arn
}

# A page that nobody writes stays where it is, so that only this line of a task says that one was written.
resource "aws_cloudwatch_log_metric_filter" "written" {
  for_each = local.colours

  name           = "${var.name}-${each.key}-written"
  log_group_name = aws_cloudwatch_log_group.this.name
  pattern        = "\"wrote the page of prices ${each.key}/:\""

  # Without a default there is no value where there is no line.
  metric_transformation {
    namespace = "Tickbell"
    name      = "${var.name}-${each.key}-written"
    value     = "1"
    unit      = "Count"
  }
}

# A task asks an API and S3, and nobody asks a task.
resource "aws_security_group" "task" {
  name        = var.name
  description = "Tasks that write the page of prices: HTTPS to outside"
  vpc_id      = var.vpc_id

  tags = { Name = var.name }
}

resource "aws_vpc_security_group_egress_rule" "https" {
  security_group_id = aws_security_group.task.id
  description       = "The API, the registry, S3 and the logs"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

data "aws_iam_policy_document" "task_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
}

# What a task may do: read and write its own copy. The pointer and the other copy are none of its business.
data "aws_iam_policy_document" "task" {
  for_each = local.colours

  statement {
    sid       = "ReadAndWriteTheCopy"
    actions   = ["s3:GetObject", "s3:PutObject"]
    resources = ["${var.bucket_arn}/${each.key}/*"]
  }

  # The names of the icons too. Without it, S3 answers for a file that is not there yet that it is forbidden.
  statement {
    sid       = "SeeWhatIsNotThere"
    actions   = ["s3:ListBucket"]
    resources = [var.bucket_arn]

    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = ["${each.key}/*", "icons/*"]
    }
  }
}

resource "aws_iam_role" "task" {
  for_each = local.colours

  name                 = "${var.name}-${each.key}"
  description          = "The task that writes copy ${each.key} of the page of prices"
  assume_role_policy   = data.aws_iam_policy_document.task_trust.json
  permissions_boundary = var.permissions_boundary_arn
}

resource "aws_iam_role_policy" "task" {
  for_each = local.colours

  name   = "copy"
  role   = aws_iam_role.task[each.key].name
  policy = data.aws_iam_policy_document.task[each.key].json
}

# What Fargate itself needs before the task runs: the image, where it lies in ECR, and the log.
data "aws_iam_policy_document" "start" {
  # checkov:skip=CKV_AWS_356: This action supports no resources.
  statement {
    sid       = "WriteTheLog"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.this.arn}:*"]
  }

  statement {
    sid       = "PullTheImage"
    actions   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    resources = ["arn:${local.partition}:ecr:${local.region}:*:repository/tickbell"]
  }

  statement {
    sid       = "LogInToTheRegistry"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }
}

resource "aws_iam_role" "start" {
  name                 = "${var.name}-start"
  description          = "Fargate starts the tasks that write the page of prices"
  assume_role_policy   = data.aws_iam_policy_document.task_trust.json
  permissions_boundary = var.permissions_boundary_arn
}

resource "aws_iam_role_policy" "start" {
  name   = "start"
  role   = aws_iam_role.start.name
  policy = data.aws_iam_policy_document.start.json
}

resource "aws_ecs_task_definition" "this" {
  for_each = local.colours

  family                   = "${var.name}-${each.key}"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = 256
  memory                   = 512
  task_role_arn            = aws_iam_role.task[each.key].arn
  execution_role_arn       = aws_iam_role.start.arn

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = "X86_64"
  }

  container_definitions = jsonencode([{
    name  = "site"
    image = var.image
    command = [
      "export", "site", "--colour", each.key, "--output", "s3://${var.bucket_name}", "--source", var.price_source,
    ]
    essential              = true
    readonlyRootFilesystem = true
    user                   = "10001:10001"
    linuxParameters        = { initProcessEnabled = true, capabilities = { drop = ["ALL"] } }
    environment            = [{ name = "TICKBELL_ARCHIVE__REGION", value = local.region }]

    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.this.name
        awslogs-region        = local.region
        awslogs-stream-prefix = each.key
      }
    }
  }])

  # `make site-deploy` registers a revision for each commit, and the schedule takes the newest one.
  lifecycle {
    ignore_changes = [container_definitions]
  }
}

data "aws_iam_policy_document" "schedule_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
}

data "aws_iam_policy_document" "schedule" {
  statement {
    sid       = "StartTheTasks"
    actions   = ["ecs:RunTask"]
    resources = [for colour in local.colours : "${aws_ecs_task_definition.this[colour].arn_without_revision}:*"]

    condition {
      test     = "ArnEquals"
      variable = "ecs:cluster"
      values   = [aws_ecs_cluster.this.arn]
    }
  }

  statement {
    sid       = "GiveThemTheirRoles"
    actions   = ["iam:PassRole"]
    resources = local.passed_roles

    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["ecs-tasks.amazonaws.com"]
    }
  }
}

locals {
  passed_roles = concat([aws_iam_role.start.arn], [for colour in local.colours : aws_iam_role.task[colour].arn])
}

resource "aws_iam_role" "schedule" {
  name                 = "${var.name}-schedule"
  description          = "EventBridge starts the tasks that write the page of prices"
  assume_role_policy   = data.aws_iam_policy_document.schedule_trust.json
  permissions_boundary = var.permissions_boundary_arn
}

resource "aws_iam_role_policy" "schedule" {
  name   = "schedule"
  role   = aws_iam_role.schedule.name
  policy = data.aws_iam_policy_document.schedule.json
}

resource "aws_cloudwatch_event_rule" "this" {
  for_each = local.colours

  name                = "${var.name}-${each.key}"
  description         = "Writes copy ${each.key} of the page of prices"
  schedule_expression = "rate(${var.every_minutes} minutes)"
}

resource "aws_cloudwatch_event_target" "this" {
  for_each = local.colours

  rule     = aws_cloudwatch_event_rule.this[each.key].name
  arn      = aws_ecs_cluster.this.arn
  role_arn = aws_iam_role.schedule.arn

  ecs_target {
    # Without a revision: the newest one.
    task_definition_arn = aws_ecs_task_definition.this[each.key].arn_without_revision
    launch_type         = "FARGATE"
    platform_version    = "LATEST"

    network_configuration {
      subnets          = var.subnet_ids
      security_groups  = [aws_security_group.task.id]
      assign_public_ip = false
    }
  }

  # The next run is soon; one that is late has nothing to add.
  retry_policy {
    maximum_event_age_in_seconds = 60 * var.every_minutes
    maximum_retry_attempts       = 1
  }
}
