output "identifier" {
  description = "The instance, for alarms."
  value       = aws_db_instance.this.identifier
}

output "arn" {
  description = "The instance's ARN."
  value       = aws_db_instance.this.arn
}

output "address" {
  description = "Host name for DATABASE_URL; it follows the instance to its standby."
  value       = aws_db_instance.this.address
}

output "admin_secret_arn" {
  description = "Secret with the administrator's password, made and changed by RDS."
  value       = aws_db_instance.this.master_user_secret[0].secret_arn
}
