variable "name" {
  description = "Prefix of every alias, like tickbell-staging."
  type        = string
}

variable "purposes" {
  description = <<-EOT
    One key per purpose. `services` are AWS services that may use the key, each only on behalf of this account; `roles`
    are roles that may use it directly (the service-linked role of auto scaling mounts encrypted volumes); `log_groups`
    lets CloudWatch Logs use it for log groups of this account and region.
  EOT
  type = map(object({
    description = string
    services    = optional(list(string), [])
    roles       = optional(list(string), [])
    log_groups  = optional(bool, false)
  }))

  validation {
    condition     = alltrue([for purpose in keys(var.purposes) : can(regex("^[a-z][a-z-]+$", purpose))])
    error_message = "A purpose is a word of a-z and -."
  }
}

variable "region" {
  description = "Region of the keys; null for the provider's. Alarms about CloudFront and Route 53 live in us-east-1."
  type        = string
  default     = null
}

variable "deletion_window_days" {
  description = "How long a deleted key can be restored, in days. After that, what it encrypted is lost."
  type        = number
  default     = 30

  validation {
    condition     = var.deletion_window_days >= 7 && var.deletion_window_days <= 30
    error_message = "AWS allows 7 to 30 days."
  }
}
