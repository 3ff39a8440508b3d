# What belongs to an installation and not to the product. None of it is secret; pipelines give it as TF_VAR_….

variable "account_id" {
  description = "The account that this is applied to; any other is refused."
  type        = string

  validation {
    condition     = can(regex("^\\d{12}$", var.account_id))
    error_message = "An account is twelve digits."
  }
}

variable "region" {
  description = "Region of this environment. It needs three zones."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-\\d$", var.region))
    error_message = "A region is named like eu-central-1."
  }
}

variable "domain" {
  description = "Domain of this environment; app.<domain>, api.<domain> and prices.<domain> are made in it."
  type        = string
}

variable "repositories" {
  description = "Where pipelines run: GitHub repository (owner/name), GitLab project (group/name); null where not used."
  type = object({
    github = optional(string)
    gitlab = optional(string)
  })
}

variable "people" {
  description = "IAM roles of users: admins have all rights in the cluster and in OpenSearch, readers may only read."
  type = object({
    admin_role_arns  = list(string)
    reader_role_arns = optional(list(string), [])
  })
}

variable "alarm_emails" {
  description = "Addresses that alarms are mailed to."
  type        = set(string)
}

variable "api_access_cidrs" {
  description = "Addresses that may reach the cluster's API server from outside, of /24 and smaller; empty for none."
  type        = list(string)
  default     = []
}

variable "load_balancer_name" {
  description = "Name of the load balancer that the cluster has made from its Ingress; null before it is there."
  type        = string
  default     = null
}

variable "backup_copy_region" {
  description = "Second region that the database's backups are copied to; null for none."
  type        = string
  default     = null
}

variable "site" {
  description = "Page of prices without the cluster: the API that it is made from, like coinnews:https://news.example, and the image of its first tasks, whose tag is a commit; null for no page."
  type = object({
    source = string
    image  = string
  })
  default = null
}
