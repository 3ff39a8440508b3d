{{/* Labels of an object of a role. In: root, role. Helm's own two are not on pods, or a new chart would roll them. */}}
{{- define "tickbell.labels" -}}
app.kubernetes.io/name: {{ .role }}
app.kubernetes.io/component: {{ .role }}
{{ include "tickbell.common" .root }}
{{- with .colour }}
tickbell.dev/colour: {{ . }}
{{- end }}
{{- end }}

{{/* Labels of an object that belongs to no role. */}}
{{- define "tickbell.common" -}}
app.kubernetes.io/part-of: tickbell
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* Labels of a role's pods. In: role. */}}
{{- define "tickbell.podLabels" -}}
app.kubernetes.io/name: {{ .role }}
app.kubernetes.io/component: {{ .role }}
app.kubernetes.io/part-of: tickbell
{{- with .colour }}
tickbell.dev/colour: {{ . }}
{{- end }}
{{- end }}

{{/* What finds a set of pods. In: role, colour. */}}
{{- define "tickbell.selector" -}}
app.kubernetes.io/name: {{ .role }}
{{- with .colour }}
tickbell.dev/colour: {{ . }}
{{- end }}
{{- end }}

{{/*
The sets of pods of a role, as a JSON list of name, colour and tag: one, or for the gateway one of each colour. In:
root, role.
*/}}
{{- define "tickbell.sets" -}}
{{- $sets := list (dict "name" .role "colour" "" "tag" "") }}
{{- if and .root.Values.blueGreen.enabled (eq .role "gateway") }}
{{- $sets = list }}
{{- range $colour, $tag := .root.Values.blueGreen.tags }}
{{- $sets = append $sets (dict "name" (printf "gateway-%s" $colour) "colour" $colour "tag" $tag) }}
{{- end }}
{{- end }}
{{- toJson $sets }}
{{- end }}

{{/*
The ConfigMap's name carries a hash of its content: a changed setting rolls the pods, and a rollback finds the old one.
*/}}
{{- define "tickbell.settingsName" -}}
tickbell-settings-{{ include "tickbell.settings" . | sha256sum | trunc 10 }}
{{- end }}

{{/* The settings of every pod, with those that follow from other values. */}}
{{- define "tickbell.settings" -}}
{{- $settings := deepCopy .Values.settings }}
{{- if .Values.telemetry.enabled }}
{{- $_ := set $settings "TICKBELL_TELEMETRY__OTLP_ENDPOINT" .Values.telemetry.otlpEndpoint }}
{{- end }}
{{- toYaml $settings }}
{{- end }}

{{/* In: root; tag, where a set of pods runs another release than the rest; tagSuffix, where a service needs another image of it. */}}
{{- define "tickbell.image" -}}
{{ .root.Values.image.repository }}:{{ default .root.Values.image.tag .tag }}{{ .tagSuffix }}
{{- end }}

{{/* The pods of everything that talks to a server, as a JSON list. In: root, server. */}}
{{- define "tickbell.clients" -}}
{{- $names := list }}
{{- range $role, $service := .root.Values.services }}
{{- if and $service.enabled (has $.server $service.needs) }}{{ $names = append $names $role }}{{ end }}
{{- end }}
{{- if and (eq .server "nats") .root.Values.pricePoller.enabled }}{{ $names = append $names "price-poller" }}{{ end }}
{{- if and (eq .server "postgres") .root.Values.migrate.enabled }}{{ $names = append $names "migrate" }}{{ end }}
{{- toJson (sortAlpha $names) }}
{{- end }}

{{/* What every pod has alike, whatever runs it. In: root, role. */}}
{{- define "tickbell.pod" -}}
serviceAccountName: {{ .role }}
automountServiceAccountToken: false
# Service links of a Service named tickbell-… would look like misspelt settings.
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  seccompProfile:
    type: RuntimeDefault
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- $files := dig "files" (dict) (default (dict) .service) }}
{{- if or .root.Values.ca.configMap $files }}
volumes:
  {{- with .root.Values.ca.configMap }}
  - name: ca
    configMap:
      name: {{ . }}
  {{- end }}
  {{- with $files }}
  - name: files
    secret:
      secretName: {{ .secret }}
      optional: true
  {{- end }}
{{- end }}
{{- end }}

{{/* The one container of every pod. In: root, args, env, secret ("" for none), resources, tag, tagSuffix, files. */}}
{{- define "tickbell.container" -}}
name: tickbell
image: {{ include "tickbell.image" . }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
args: {{ toJson .args }}
{{- with .env }}
env:
  {{- range $name, $value := . }}
  - name: {{ $name }}
    value: {{ $value | quote }}
  {{- end }}
{{- end }}
envFrom:
  - configMapRef:
      name: {{ include "tickbell.settingsName" .root }}
  {{- if .secret }}
  - secretRef:
      name: {{ .secret }}
  {{- end }}
  {{- if and .root.Values.telemetry.enabled (ne .secret "tickbell-migrate") }}
  # Holds TICKBELL_TELEMETRY__SENTRY_DSN; without it no errors are sent.
  - secretRef:
      name: tickbell-telemetry
      optional: true
  {{- end }}
resources:
  {{- toYaml .resources | nindent 2 }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  runAsNonRoot: true
  capabilities:
    drop: [ALL]
{{- if or .root.Values.ca.configMap .files }}
volumeMounts:
  {{- if .root.Values.ca.configMap }}
  - name: ca
    mountPath: /etc/tickbell/ca
    readOnly: true
  {{- end }}
  {{- with .files }}
  - name: files
    mountPath: {{ .path }}
    readOnly: true
  {{- end }}
{{- end }}
{{- end }}

{{/* The template of a long-running service's pods. In: root, role, service, colour, tag. */}}
{{- define "tickbell.template" -}}
metadata:
  labels:
    {{- include "tickbell.podLabels" . | nindent 4 }}
spec:
  {{- include "tickbell.pod" . | nindent 2 }}
  {{- with .root.Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with .service.terminationGracePeriodSeconds }}
  terminationGracePeriodSeconds: {{ . }}
  {{- end }}
  # Each revision is spread separately: the pods that a rollout replaces do not count.
  topologySpreadConstraints:
    {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
    - topologyKey: {{ . }}
      maxSkew: 1
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          app.kubernetes.io/part-of: tickbell
          {{- with $.colour }}
          tickbell.dev/colour: {{ . }}
          {{- end }}
      matchLabelKeys: [app.kubernetes.io/name, pod-template-hash]
    {{- end }}
  containers:
    - {{- include "tickbell.container" (dict
        "root" .root "args" (prepend .service.args .role) "env" .service.env
        "secret" (ternary (printf "tickbell-%s" .role) "" (gt (len .service.needs) 0))
        "resources" .service.resources "tag" .tag "tagSuffix" .service.tagSuffix "files" .service.files
      ) | nindent 6 }}
      ports:
        - name: admin
          containerPort: 8081
        {{- with .service.http }}
        - name: http
          containerPort: {{ .port }}
        {{- end }}
      # Long enough to connect to a broker that is also starting.
      startupProbe:
        httpGet:
          path: /healthz
          port: admin
        periodSeconds: 2
        timeoutSeconds: 2
        failureThreshold: 60
      # Only checks that the process answers, because a restart does not repair a broker or a database.
      livenessProbe:
        httpGet:
          path: /healthz
          port: admin
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        httpGet:
          path: /readyz
          port: admin
        periodSeconds: 5
        timeoutSeconds: 3
        failureThreshold: 2
{{- end }}

{{/* The edges of the design that start at a pod. In: root, needs. */}}
{{- define "tickbell.egress" -}}
{{- range .needs }}
{{- if eq . "nats" }}
- to:
    - podSelector:
        matchLabels:
          app.kubernetes.io/component: nats
  ports:
    - port: 4222
    - port: 8222
{{- else if eq . "postgres" }}
- to:
    {{- if eq $.root.Values.postgres.kind "managed" }}
    - ipBlock:
        cidr: {{ $.root.Values.postgres.managed.cidr }}
    {{- else }}
    - podSelector:
        matchLabels:
          tickbell.dev/server: postgres
    {{- end }}
  ports:
    - port: 5432
{{- else if eq . "kafka" }}
# The brokers: in the namespace kafka, or elsewhere.
- to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: kafka
    - ipBlock:
        cidr: 0.0.0.0/0
  ports:
    - port: 9092
      endPort: 9098
{{- else if eq . "coinnews" }}
- to:
    - podSelector:
        matchLabels:
          app.kubernetes.io/name: coinnews
  ports:
    - port: 8090
{{- else if eq . "store" }}
# The object store, and who issues the credentials of its role. Both may have an address inside of the network.
- to:
    - ipBlock:
        cidr: 0.0.0.0/0
  ports:
    - port: 443
{{- else }}
# Outside, never in a private network.
- to:
    - ipBlock:
        cidr: 0.0.0.0/0
        except: [10.0.0.0/8, 100.64.0.0/10, 169.254.0.0/16, 172.16.0.0/12, 192.168.0.0/16]
  ports:
    {{- if eq . "smtp" }}
    - port: 465
    - port: 587
    {{- else }}
    - port: 443
    {{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* The paths that are public, as a JSON list of path and exact. */}}
{{- define "tickbell.paths" -}}
{{- $paths := list (dict "path" "/" "exact" true) (dict "path" "/openapi.json" "exact" true) }}
{{- range list "/docs" "/v1" "/udf" "/compat" "/confirm" "/unsubscribe" "/join" "/reset" }}
{{- $paths = append $paths (dict "path" . "exact" false) }}
{{- end }}
{{- toJson $paths }}
{{- end }}

{{/* An object of a file in files/, in this release's namespace and with its labels. In: root, object. */}}
{{- define "tickbell.ours" -}}
{{- $labels := merge (dict) (dig "metadata" "labels" (dict) .object) (fromYaml (include "tickbell.common" .root)) }}
{{- $metadata := merge (dict "namespace" .root.Release.Namespace "labels" $labels) .object.metadata }}
{{- toYaml (set .object "metadata" $metadata) }}
{{- end }}
