output "arn" {
  description = "The role, which the pipeline names."
  value       = aws_iam_role.this.arn
}
