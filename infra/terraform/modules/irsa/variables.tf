variable "name" {
  description = "Name of the role."
  type        = string

  validation {
    condition     = can(regex("^tickbell-[a-z0-9-]{3,55}$", var.name))
    error_message = "A role's name begins with tickbell- (pipelines may make no other) and has 64 characters at most."
  }
}

variable "oidc" {
  description = "The cluster's identity provider: its ARN, and its issuer without https://."
  type = object({
    arn    = string
    issuer = string
  })
}

variable "service_account" {
  description = "Service accounts that may assume the role, as namespace:name. A list where one chart uses several."
  type        = list(string)

  validation {
    condition = length(var.service_account) > 0 && alltrue([
      for name in var.service_account : can(regex("^[a-z0-9-]+:[a-z0-9-]+$", name))
    ])
    error_message = "Service accounts are named namespace:name, without wildcards."
  }
}

variable "policy" {
  description = "What the role may do, as a JSON document; null where managed policies say it all."
  type        = string
  default     = null
}

variable "has_policy" {
  description = "Whether policy is set. A separate variable, because the document is unknown before the first apply."
  type        = bool
  default     = true
}

variable "managed_policy_arns" {
  description = "The AWS managed policies that are attached to the role in addition."
  type        = list(string)
  default     = []
}

variable "permissions_boundary_arn" {
  description = "The most that any role of this account may do, whatever its policies say."
  type        = string
}
