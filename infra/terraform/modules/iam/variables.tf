variable "name" {
  description = "Name of the role."
  type        = string

  validation {
    condition     = can(regex("^tickbell-[a-z0-9-]{3,55}$", var.name))
    error_message = "A role's name begins with tickbell- and has at most 64 characters."
  }
}

variable "description" {
  description = "What the role is for."
  type        = string
}

variable "github" {
  description = "Repository and environment of GitHub Actions that may take the role; null for none."
  type = object({
    repository  = string
    environment = string
  })
  default = null

  validation {
    condition     = var.github == null ? true : can(regex("^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$", var.github.repository))
    error_message = "A repository is owner/name: a wildcard here lets strangers in."
  }

  validation {
    condition     = var.github == null ? true : can(regex("^[a-z0-9-]+$", var.github.environment))
    error_message = "An environment is a word."
  }
}

variable "gitlab" {
  description = "Project of GitLab CI that may take the role, and its refs; null for none. A ref may end with *."
  type = object({
    project = string
    refs = list(object({
      type = string
      name = string
    }))
  })
  default = null

  validation {
    condition     = var.gitlab == null ? true : can(regex("^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)+$", var.gitlab.project))
    error_message = "A project is group/name, without wildcards."
  }

  validation {
    condition = var.gitlab == null ? true : length(var.gitlab.refs) > 0 && alltrue([
      for ref in var.gitlab.refs :
      contains(["branch", "tag"], ref.type) && can(regex("^[A-Za-z0-9._/-]+\\*?$", ref.name))
    ])
    error_message = "A ref is a branch or a tag with a name; a wildcard alone would let every one in."
  }
}

variable "gitlab_host" {
  description = "Host of GitLab."
  type        = string
  default     = "gitlab.com"
}

variable "policies" {
  description = "What the role may do, as JSON documents by name."
  type        = map(string)
  default     = {}
}

variable "managed_policy_arns" {
  description = "The AWS managed policies that are attached to the role in addition."
  type        = list(string)
  default     = []
}

variable "session_hours" {
  description = "How long one taking of the role lasts at most."
  type        = number
  default     = 1

  validation {
    condition     = var.session_hours >= 1 && var.session_hours <= 2
    error_message = "One or two hours."
  }
}

variable "permissions_boundary_arn" {
  description = "The most that the role may do, whatever its policies say; null for none."
  type        = string
  default     = null
}
