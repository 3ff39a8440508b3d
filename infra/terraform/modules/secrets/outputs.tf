output "names" {
  description = "Secrets by what they belong to: the remote keys of External Secrets."
  value       = { for name in keys(local.secrets) : name => aws_secretsmanager_secret.this[name].name }
}
