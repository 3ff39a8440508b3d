variable "account_id" {
  description = "The account that this is applied to; any other is refused."
  type        = string

  validation {
    condition     = can(regex("^\\d{12}$", var.account_id))
    error_message = "An account is twelve digits."
  }
}

variable "region" {
  description = "Region of the state and of the images."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-\\d$", var.region))
    error_message = "A region is named like eu-central-1."
  }
}

variable "environments" {
  description = "Environments of this account: both, or one where production has an account of its own."
  type        = set(string)

  validation {
    condition = length(var.environments) > 0 && alltrue([
      for name in var.environments : contains(["staging", "production"], name)
    ])
    error_message = "staging, production, or both."
  }
}

variable "repositories" {
  description = "Where pipelines run: GitHub repository (owner/name), GitLab project (group/name); null where not used."
  type = object({
    github = optional(string)
    gitlab = optional(string)
  })

  validation {
    condition     = var.repositories.github != null || var.repositories.gitlab != null
    error_message = "At least one of the two."
  }
}

variable "image_reader_accounts" {
  description = "Other accounts that pull the image, like production's."
  type        = list(string)
  default     = []
}

variable "alarm_emails" {
  description = "Mail addresses for reports of unexpected costs."
  type        = set(string)

  validation {
    condition     = length(var.alarm_emails) > 0
    error_message = "At least one address."
  }
}

variable "anomaly_usd" {
  description = "Costs above the expected that are worth a mail."
  type        = number
  default     = 20

  validation {
    condition     = var.anomaly_usd >= 1
    error_message = "At least one dollar."
  }
}
