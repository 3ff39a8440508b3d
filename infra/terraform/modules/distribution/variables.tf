variable "name" {
  description = "Name of the access control and of the headers' policy, like tickbell-staging-site."
  type        = string
}

variable "log_name" {
  description = "Name of the delivery of access logs."
  type        = string
}

variable "comment" {
  description = "What the distribution is for."
  type        = string
}

variable "bucket_name" {
  description = "Bucket of the files; unique in the world."
  type        = string
}

variable "old_versions_days" {
  description = "How long a replaced file can be restored, in days."
  type        = number

  validation {
    condition     = var.old_versions_days >= 1 && var.old_versions_days <= 365
    error_message = "1 to 365 days."
  }
}

variable "origin_id" {
  description = "What the distribution calls the bucket."
  type        = string
}

variable "hosts" {
  description = "Host names of the distribution."
  type        = list(string)
}

variable "certificate_arn" {
  description = "Valid certificate of the hosts, in us-east-1."
  type        = string

  validation {
    condition     = can(regex("^arn:[a-z-]+:acm:us-east-1:", var.certificate_arn))
    error_message = "CloudFront takes certificates from us-east-1 only."
  }
}

variable "log_bucket" {
  description = "Bucket of access logs: its name and its ARN."
  type = object({
    name = string
    arn  = string
  })
}

variable "price_class" {
  description = "Where CloudFront answers: PriceClass_100 is Europe and North America."
  type        = string

  validation {
    condition     = contains(["PriceClass_100", "PriceClass_200", "PriceClass_All"], var.price_class)
    error_message = "PriceClass_100, PriceClass_200 or PriceClass_All."
  }
}

variable "allowed_methods" {
  description = "Methods that reach the functions and the bucket, which lets nothing but reads through."
  type        = list(string)
  default     = ["GET", "HEAD"]
}

variable "request_functions" {
  description = "ARNs of functions of CloudFront that a request goes through; at most one."
  type        = list(string)
  default     = []
}

variable "headers" {
  description = "What pages may do: the policy's comment, the parts of the content security policy, and the permissions policy."
  type = object({
    comment          = string
    content_security = list(string)
    permissions      = optional(string)
  })
}

variable "destroy_with_contents" {
  description = "Whether terraform destroy may remove the bucket with its files."
  type        = bool
}
