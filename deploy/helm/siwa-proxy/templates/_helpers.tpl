{{- define "siwa-proxy.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "siwa-proxy.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains (include "siwa-proxy.name" .) .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "siwa-proxy.name" .) | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "siwa-proxy.selectorLabels" -}}
app.kubernetes.io/name: {{ include "siwa-proxy.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* The proxy's pods, and not those of a test. */}}
{{- define "siwa-proxy.podSelectorLabels" -}}
{{ include "siwa-proxy.selectorLabels" . }}
app.kubernetes.io/component: proxy
{{- end }}

{{- define "siwa-proxy.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{ include "siwa-proxy.selectorLabels" . }}
{{- end }}

{{- define "siwa-proxy.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "siwa-proxy.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "siwa-proxy.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{/* What the chart sets itself, for the proxy and for the test that asks the same questions. */}}
{{- define "siwa-proxy.env" -}}
- name: SIWA_CONFIG
  value: /etc/siwa-proxy/siwa-proxy.toml
- name: SIWA_SERVER__ADMIN_LISTEN
  value: 0.0.0.0:4181
- name: SIWA_SERVER__DRAIN_DELAY
  value: {{ printf "%vs" .Values.drain.delay }}
- name: SIWA_SERVER__DRAIN_TIMEOUT
  value: {{ printf "%vs" .Values.drain.timeout }}
{{- /* Where there are sessions, several pods need a store that they share, and do not start without. */}}
- name: SIWA_SESSIONS__REPLICAS
  value: {{ max 1 (ternary .Values.autoscaling.maxReplicas .Values.replicaCount .Values.autoscaling.enabled) | quote }}
{{- with .Values.clientIds }}
- name: SIWA_APPLE__CLIENT_IDS
  value: {{ join "," . | quote }}
{{- end }}
{{- with .Values.upstream }}
- name: SIWA_UPSTREAM__URL
  value: {{ . | quote }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "siwa-proxy.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "siwa-proxy.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "siwa-proxy.settingsVolume" -}}
- name: settings
  {{- if .Values.existingSecret }}
  secret:
    secretName: {{ .Values.existingSecret }}
  {{- else }}
  configMap:
    name: {{ include "siwa-proxy.fullname" . }}
  {{- end }}
{{- end }}
