variable "name" {
  description = "Name of the budget."
  type        = string
}

variable "environment" {
  description = "Environment whose costs are counted, by its tag. Activate the tag for cost allocation once."
  type        = string
}

variable "monthly_usd" {
  description = "What a month may cost."
  type        = number

  validation {
    condition     = var.monthly_usd >= 50
    error_message = "At least 50 USD: the cluster's control plane alone costs more."
  }
}

variable "topic_arn" {
  description = "Topic of the notifications."
  type        = string
}
