variable "name" {
  description = "Name of the bucket; unique in the world."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.name))
    error_message = "A bucket's name is 3 to 63 of a-z, 0-9 and -; dots break TLS."
  }
}

variable "kms_key_arn" {
  description = "Key that encrypts the objects; null for S3's own key, which log delivery and public files need."
  type        = string
  default     = null
}

variable "policy_documents" {
  description = "Further statements of the bucket's policy, as JSON documents."
  type        = list(string)
  default     = []
}

variable "expire_after_days" {
  description = "Days after which objects are removed; 0 keeps them."
  type        = number
  default     = 0

  validation {
    condition     = var.expire_after_days >= 0 && var.expire_after_days <= 3650
    error_message = "0 to 3650 days."
  }
}

variable "archive_after_days" {
  description = "Days after which objects move to infrequent access; 0 never."
  type        = number
  default     = 0

  validation {
    condition     = var.archive_after_days == 0 || var.archive_after_days >= 30
    error_message = "S3 moves objects to infrequent access after 30 days at the earliest."
  }
}

variable "old_versions_days" {
  description = "How long a replaced or deleted object can be restored, in days."
  type        = number
  default     = 30

  validation {
    condition     = var.old_versions_days >= 1 && var.old_versions_days <= 365
    error_message = "1 to 365 days."
  }
}

variable "lock_days" {
  description = "Days for which no one can remove an object before its time (object lock, governance mode); 0 for none."
  type        = number
  default     = 0

  validation {
    condition     = var.lock_days >= 0 && var.lock_days <= 365
    error_message = "0 to 365 days."
  }
}

variable "access_log_bucket" {
  description = "Bucket that takes the access log; null for the log bucket itself."
  type        = string
  default     = null
}

variable "destroy_with_contents" {
  description = "Whether terraform destroy may delete the bucket with its objects."
  type        = bool
  default     = false
}
