variable "environment" {
  description = "Environment that the secrets belong to; the second part of their names."
  type        = string
}

variable "kms_key_arn" {
  description = "Key of the secrets."
  type        = string
}

variable "reader_role_arns" {
  description = "Roles that may read values: External Secrets, and the administrators."
  type        = list(string)

  validation {
    condition     = length(var.reader_role_arns) > 0
    error_message = "At least one role must be able to read the secrets."
  }
}

variable "recovery_days" {
  description = "How long a deleted secret can be taken back; 0 deletes at once, which frees its name."
  type        = number

  validation {
    condition     = var.recovery_days == 0 || (var.recovery_days >= 7 && var.recovery_days <= 30)
    error_message = "0, or 7 to 30 days."
  }
}
