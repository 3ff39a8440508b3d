output "cluster" {
  description = "The cluster of the tasks: its name and its ARN."
  value = {
    name = aws_ecs_cluster.this.name
    arn  = aws_ecs_cluster.this.arn
  }
}

output "families" {
  description = "ARNs of the task definitions without their revisions, by colour."
  value       = { for colour in local.colours : colour => aws_ecs_task_definition.this[colour].arn_without_revision }
}

output "passed_role_arns" {
  description = "Roles that who starts a task must be allowed to give it."
  value       = local.passed_roles
}

output "written" {
  description = "Metrics that count the pages that were written, by colour, and the minutes between two of them."
  value = {
    for colour in local.colours : colour => {
      namespace     = aws_cloudwatch_log_metric_filter.written[colour].metric_transformation[0].namespace
      metric        = aws_cloudwatch_log_metric_filter.written[colour].metric_transformation[0].name
      every_minutes = var.every_minutes
    }
  }
}
