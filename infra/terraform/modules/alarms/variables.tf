variable "name" {
  description = "Prefix of every name, like tickbell-staging."
  type        = string
}

variable "emails" {
  description = "Addresses that alarms are mailed to; each must confirm once. An incident tool has one too."
  type        = set(string)

  validation {
    condition = length(var.emails) > 0 && alltrue([
      for email in var.emails : can(regex("^[^@\\s]+@[^@\\s]+$", email))
    ])
    error_message = "At least one mail address is needed, or no alarm reaches anybody."
  }
}

variable "kms_key_arns" {
  description = "Keys of the topics: in this region, and in us-east-1."
  type = object({
    home   = string
    global = string
  })
}

variable "database" {
  description = "RDS instance to watch, and the free disk below which the alarm fires."
  type = object({
    identifier  = string
    min_free_gb = number
  })

  validation {
    condition     = var.database.min_free_gb >= 2
    error_message = "At least 2 GB: less is gone before anybody has read the mail."
  }
}

variable "search" {
  description = "OpenSearch domain to watch, and the free disk per node below which the alarm fires."
  type = object({
    domain_name = string
    min_free_gb = number
  })
}

variable "nat_gateway_ids" {
  description = "NAT gateways to watch, by zone."
  type        = map(string)
}

variable "published" {
  description = "Whether the API has an address already. Before that there is nothing to watch from outside."
  type        = bool
}

variable "load_balancer" {
  description = "Load balancer to watch, as CloudWatch names it; null until the API is published."
  type        = string
  default     = null
}

variable "health_check_id" {
  description = "Health check of the API; null until it is published."
  type        = string
  default     = null
}

variable "site_health_check_ids" {
  description = "Health checks of the copies of the page of prices, by colour; empty where there is none."
  type        = map(string)
  default     = {}
}

variable "site_written" {
  description = "Metrics that count the written pages of prices, by colour, and the minutes between two; empty where there is none."
  type = map(object({
    namespace     = string
    metric        = string
    every_minutes = number
  }))
  default = {}
}

variable "distribution_id" {
  description = "CloudFront distribution to watch."
  type        = string
}
