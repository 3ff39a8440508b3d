variable "name" {
  description = "Prefix of every name, like tickbell-staging-site."
  type        = string
}

variable "vpc_id" {
  description = "The VPC that the tasks run in."
  type        = string
}

variable "subnet_ids" {
  description = "Subnets of the tasks, which reach the outside by NAT."
  type        = list(string)
}

variable "bucket_name" {
  description = "Bucket that the page is written to."
  type        = string
}

variable "bucket_arn" {
  description = "The ARN of that bucket."
  type        = string
}

variable "image" {
  description = "Image of the first revision, before a pipeline has deployed a commit."
  type        = string

  validation {
    condition     = can(regex(":[0-9a-f]{40}$", var.image))
    error_message = "The tag of an image is the commit that it was built from."
  }
}

variable "price_source" {
  description = "API that is asked for prices, like coinnews:https://news.example."
  type        = string

  validation {
    condition     = can(regex("^(coinnews|json):https://", var.price_source))
    error_message = "coinnews:https://… or json:https://…: what a task asks is encrypted."
  }
}

variable "every_minutes" {
  description = "Minutes between two runs of a task."
  type        = number
  default     = 3

  validation {
    condition     = var.every_minutes >= 2 && var.every_minutes <= 60
    error_message = "2 to 60 minutes: a task takes up to a minute to start."
  }
}

variable "log_kms_key_arn" {
  description = "Key of the log group."
  type        = string
}

variable "log_retention_days" {
  description = "Retention of the tasks' logs, in days."
  type        = number

  validation {
    condition     = contains([30, 60, 90, 180, 365], var.log_retention_days)
    error_message = "30, 60, 90, 180 or 365 days."
  }
}

variable "permissions_boundary_arn" {
  description = "The most that any role of this account may do."
  type        = string
}
