output "state_bucket" {
  description = "Bucket that every `terraform init` names."
  value       = module.state.name
}

output "image_repository" {
  description = "Where the image is pushed to, beside ghcr.io."
  value       = module.images.url
}

output "role_arns" {
  description = "Roles of the pipelines, by step and environment."
  value = {
    plan  = { for name in var.environments : name => module.plan_role[name].arn }
    apply = { for name in var.environments : name => module.apply_role[name].arn }
    image = module.image_role.arn
  }
}
