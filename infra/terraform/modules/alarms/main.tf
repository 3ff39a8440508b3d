# Alarms about what Prometheus cannot see: AWS's own machines, and whether the outside can reach the inside at all.
# Everything else is a rule of Prometheus (infra/monitoring).

data "aws_caller_identity" "current" {}

locals {
  account = data.aws_caller_identity.current.account_id

  topics = {
    home   = { region = null, name = "${var.name}-alarms", key = var.kms_key_arns.home }
    global = { region = "us-east-1", name = "${var.name}-alarms-global", key = var.kms_key_arns.global }
  }

  gigabyte = 1024 * 1024 * 1024

  # Metric, threshold and how long it must last. Missing data counts as bad only where it means a loss.
  alarms = merge(
    {
      database-storage = {
        description = "The database has less than ${var.database.min_free_gb} GB left and grows no further by itself."
        namespace   = "AWS/RDS"
        metric      = "FreeStorageSpace"
        dimensions  = { DBInstanceIdentifier = var.database.identifier }
        statistic   = "Minimum"
        comparison  = "LessThanThreshold"
        threshold   = var.database.min_free_gb * local.gigabyte
        periods     = 3
        missing     = "breaching"
      }
      database-cpu = {
        description = "The database's processors have been busy for a quarter of an hour."
        namespace   = "AWS/RDS"
        metric      = "CPUUtilization"
        dimensions  = { DBInstanceIdentifier = var.database.identifier }
        statistic   = "Average"
        comparison  = "GreaterThanThreshold"
        threshold   = 85
        periods     = 3
        missing     = "missing"
      }
      database-memory = {
        description = "The database has less than 256 MB of memory left: it will be killed and restarted."
        namespace   = "AWS/RDS"
        metric      = "FreeableMemory"
        dimensions  = { DBInstanceIdentifier = var.database.identifier }
        statistic   = "Minimum"
        comparison  = "LessThanThreshold"
        threshold   = local.gigabyte / 4
        periods     = 3
        missing     = "missing"
      }
      search-red = {
        description = "OpenSearch has lost an index's primary shard: logs are missing."
        namespace   = "AWS/ES"
        metric      = "ClusterStatus.red"
        dimensions  = { ClientId = local.account, DomainName = var.search.domain_name }
        statistic   = "Maximum"
        comparison  = "GreaterThanOrEqualToThreshold"
        threshold   = 1
        periods     = 1
        missing     = "notBreaching"
      }
      search-storage = {
        description = "An OpenSearch node has less than ${var.search.min_free_gb} GB left; soon it takes no more logs."
        namespace   = "AWS/ES"
        metric      = "FreeStorageSpace"
        dimensions  = { ClientId = local.account, DomainName = var.search.domain_name }
        statistic   = "Minimum"
        comparison  = "LessThanThreshold"
        # This metric counts megabytes.
        threshold = var.search.min_free_gb * 1024
        periods   = 3
        missing   = "breaching"
      }
      search-writes-blocked = {
        description = "OpenSearch refuses new logs (disk or memory)."
        namespace   = "AWS/ES"
        metric      = "ClusterIndexWritesBlocked"
        dimensions  = { ClientId = local.account, DomainName = var.search.domain_name }
        statistic   = "Maximum"
        comparison  = "GreaterThanOrEqualToThreshold"
        threshold   = 1
        periods     = 1
        missing     = "notBreaching"
      }
      search-key = {
        description = "OpenSearch cannot use its key. Without it the domain stops and cannot be restored."
        namespace   = "AWS/ES"
        metric      = "KMSKeyError"
        dimensions  = { ClientId = local.account, DomainName = var.search.domain_name }
        statistic   = "Maximum"
        comparison  = "GreaterThanOrEqualToThreshold"
        threshold   = 1
        periods     = 1
        missing     = "notBreaching"
      }
    },
    {
      for zone, id in var.nat_gateway_ids : "nat-ports-${zone}" => {
        description = "The NAT gateway of ${zone} has no port left: connections to the outside fail."
        namespace   = "AWS/NATGateway"
        metric      = "ErrorPortAllocation"
        dimensions  = { NatGatewayId = id }
        statistic   = "Sum"
        comparison  = "GreaterThanThreshold"
        threshold   = 0
        periods     = 1
        missing     = "notBreaching"
      }
    },
    {
      # Three runs in vain, and as long as `tickbell site` takes a page for fresh.
      for colour, written in var.site_written : "site-${colour}-not-written" => {
        description = "Nobody writes copy ${colour} of the page of prices: its task fails, or is not started."
        namespace   = written.namespace
        metric      = written.metric
        dimensions  = {}
        statistic   = "Sum"
        comparison  = "LessThanThreshold"
        threshold   = 1
        periods     = max(3, ceil(3 * written.every_minutes / 5))
        missing     = "breaching"
      }
    },
    var.published ? {
      load-balancer-errors = {
        description = "The load balancer itself answers with errors: it finds no gateway to ask."
        namespace   = "AWS/ApplicationELB"
        metric      = "HTTPCode_ELB_5XX_Count"
        dimensions  = { LoadBalancer = var.load_balancer }
        statistic   = "Sum"
        comparison  = "GreaterThanThreshold"
        threshold   = 25
        periods     = 1
        missing     = "notBreaching"
      }
      load-balancer-refusals = {
        description = "The load balancer refuses connections: it has reached its limit."
        namespace   = "AWS/ApplicationELB"
        metric      = "RejectedConnectionCount"
        dimensions  = { LoadBalancer = var.load_balancer }
        statistic   = "Sum"
        comparison  = "GreaterThanThreshold"
        threshold   = 0
        periods     = 1
        missing     = "notBreaching"
      }
    } : {},
  )

  # These two services report to us-east-1 only.
  global_alarms = merge(
    {
      dashboard-errors = {
        description = "More than 5 % of the dashboard's answers are errors of ours."
        namespace   = "AWS/CloudFront"
        metric      = "5xxErrorRate"
        dimensions  = { DistributionId = var.distribution_id, Region = "Global" }
        statistic   = "Average"
        comparison  = "GreaterThanThreshold"
        threshold   = 5
        periods     = 2
        missing     = "notBreaching"
      }
    },
    {
      for colour, id in var.site_health_check_ids : "site-${colour}" => {
        description = "From three continents copy ${colour} of the page of prices does not answer. Whether it is written says another alarm."
        namespace   = "AWS/Route53"
        metric      = "HealthCheckStatus"
        dimensions  = { HealthCheckId = id }
        statistic   = "Minimum"
        comparison  = "LessThanThreshold"
        threshold   = 1
        periods     = 5
        missing     = "breaching"
      }
    },
    var.published ? {
      api-unreachable = {
        description = "From three continents the API does not answer. Prometheus may be down with it."
        namespace   = "AWS/Route53"
        metric      = "HealthCheckStatus"
        dimensions  = { HealthCheckId = var.health_check_id }
        statistic   = "Minimum"
        comparison  = "LessThanThreshold"
        threshold   = 1
        periods     = 1
        missing     = "breaching"
      }
    } : {},
  )
}

resource "aws_sns_topic" "this" {
  for_each = local.topics

  region            = each.value.region
  name              = each.value.name
  kms_master_key_id = each.value.key
}

data "aws_iam_policy_document" "publish" {
  for_each = local.topics

  statement {
    sid       = "AlarmsOfThisAccount"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.this[each.key].arn]

    principals {
      type        = "Service"
      identifiers = ["budgets.amazonaws.com", "cloudwatch.amazonaws.com", "events.rds.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
}

resource "aws_sns_topic_policy" "this" {
  for_each = local.topics

  region = each.value.region
  arn    = aws_sns_topic.this[each.key].arn
  policy = data.aws_iam_policy_document.publish[each.key].json
}

resource "aws_sns_topic_subscription" "home" {
  for_each = var.emails

  topic_arn = aws_sns_topic.this["home"].arn
  protocol  = "email"
  endpoint  = each.key
}

resource "aws_sns_topic_subscription" "global" {
  for_each = var.emails

  region    = "us-east-1"
  topic_arn = aws_sns_topic.this["global"].arn
  protocol  = "email"
  endpoint  = each.key
}

resource "aws_cloudwatch_metric_alarm" "home" {
  for_each = local.alarms

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.description
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  comparison_operator = each.value.comparison
  threshold           = each.value.threshold
  period              = 300
  evaluation_periods  = each.value.periods
  treat_missing_data  = each.value.missing
  alarm_actions       = [aws_sns_topic.this["home"].arn]
  ok_actions          = [aws_sns_topic.this["home"].arn]
}

resource "aws_cloudwatch_metric_alarm" "global" {
  for_each = local.global_alarms

  region              = "us-east-1"
  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.description
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  comparison_operator = each.value.comparison
  threshold           = each.value.threshold
  period              = 60
  evaluation_periods  = each.value.periods
  treat_missing_data  = each.value.missing
  alarm_actions       = [aws_sns_topic.this["global"].arn]
  ok_actions          = [aws_sns_topic.this["global"].arn]
}

# What RDS does by itself: failovers, failures, and maintenance that waits.
resource "aws_db_event_subscription" "this" {
  name             = "${var.name}-database"
  sns_topic        = aws_sns_topic.this["home"].arn
  source_type      = "db-instance"
  source_ids       = [var.database.identifier]
  event_categories = ["availability", "failover", "failure", "low storage", "maintenance", "notification", "recovery"]
}
