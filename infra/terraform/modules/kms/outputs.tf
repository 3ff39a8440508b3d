output "arns" {
  description = "Keys, by purpose."
  value       = { for purpose in keys(var.purposes) : purpose => aws_kms_key.this[purpose].arn }
}
