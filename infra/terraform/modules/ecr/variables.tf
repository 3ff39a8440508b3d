variable "name" {
  description = "Name of the repository."
  type        = string
}

variable "kms_key_arn" {
  description = "Key of the images."
  type        = string
}

variable "reader_accounts" {
  description = "Other accounts that pull the image, like production's where it has one of its own."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for account in var.reader_accounts : can(regex("^\\d{12}$", account))])
    error_message = "An account is twelve digits."
  }
}

variable "images_kept" {
  description = "Number of images that are retained, which limits how far a rollback can go back."
  type        = number
  default     = 100

  validation {
    condition     = var.images_kept >= 20 && var.images_kept <= 1000
    error_message = "20 to 1000."
  }
}
