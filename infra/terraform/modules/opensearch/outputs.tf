output "domain_name" {
  description = "The domain, for alarms."
  value       = aws_opensearch_domain.this.domain_name
}

output "arn" {
  description = "The domain's ARN."
  value       = aws_opensearch_domain.this.arn
}

output "endpoint" {
  description = "Host name that Fluent Bit writes to, port 443."
  value       = aws_opensearch_domain.this.endpoint
}

output "admin_role_arn" {
  description = "Role that may map roles and write ISM policies."
  value       = aws_iam_role.admin.arn
}
