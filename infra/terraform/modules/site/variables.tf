variable "name" {
  description = "Prefix of every name, like tickbell-staging."
  type        = string
}

variable "bucket_name" {
  description = "Bucket of the page; unique in the world."
  type        = string
}

variable "host" {
  description = "Host name of the page."
  type        = string
}

variable "certificate_arn" {
  description = "Valid certificate of the host, in us-east-1."
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
  default     = "PriceClass_100"

  validation {
    condition     = contains(["PriceClass_100", "PriceClass_200", "PriceClass_All"], var.price_class)
    error_message = "PriceClass_100, PriceClass_200 or PriceClass_All."
  }
}

variable "destroy_with_contents" {
  description = "Whether terraform destroy may remove the bucket with its pages; a task writes them again."
  type        = bool
}
