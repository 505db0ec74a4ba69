{{- /* SPDX-License-Identifier: Apache-2.0 */ -}}
{{- define "endcap.labels" -}}
app.kubernetes.io/name: endcap-operator
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "endcap.selector" -}}
app.kubernetes.io/name: endcap-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "endcap.name" -}}
{{- printf "%s-operator" .Release.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "endcap.images" -}}
{{- $pairs := list -}}
{{- range $name, $image := .Values.runtime.images }}{{ $pairs = append $pairs (printf "%s=%s" $name $image) }}{{ end -}}
{{- join "," $pairs }}
{{- end }}

{{- /*
What the operator may do in a namespace: each verb is used. Exec and wildcards are not among them. It makes the Secrets
of feature stores and graphs and can never read them, nor any other. It patches a graph only where an Experiment says
promotion: patch.
*/ -}}
{{- define "endcap.rules" -}}
- apiGroups: [endcap.dev]
  resources: [modeldeployments, inferencegraphs, featurestores, featureviews, featurebundles, experiments]
  verbs: [list, watch]
- apiGroups: [endcap.dev]
  resources: [inferencegraphs]
  verbs: [patch]
- apiGroups: [endcap.dev]
  resources: [modeldeployments/status, inferencegraphs/status, featurestores/status, featureviews/status, featurebundles/status, experiments/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [services, configmaps]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, list, watch, create, patch]
- apiGroups: [""]
  resources: [secrets]
  verbs: [create]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [replicasets]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch, patch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}
