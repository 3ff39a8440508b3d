output "role_arns" {
  description = "Roles by workload, for the annotation eks.amazonaws.com/role-arn of its service account."
  value       = { for workload in keys(local.roles) : workload => module.role[workload].arn }
}

output "service_accounts" {
  description = "The service account of each role, as namespace:name. The charts must use these names."
  value       = { for workload, role in local.roles : workload => role.service_account }
}
