{{- define "retinue.labels" -}}
app.kubernetes.io/name: retinue
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* The scheduler's configuration, as manifests/setup/scheduler-config.yaml has it. */}}
{{- define "retinue.config" -}}
# The configuration of the scheduler, in production and in the local cluster.
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
leaderElection:
  leaderElect: true
  resourceName: retinue
  resourceNamespace: {{ .Release.Namespace }}
clientConnection:
  # Requests per second of each of three clients: one that binds, a request for every pod; one for events, one or two for every
  # pod; and one that fetches drivers' ConfigMaps. 50, the default, would bind fifty pods a second at most.
  qps: {{ .Values.scheduler.qps }}
  burst: {{ .Values.scheduler.burst }}
# A replica that waits for the lease watches nothing and says nothing; it reads the cluster when its turn comes.
delayCacheUntilActive: true
profiles:
- schedulerName: {{ .Values.scheduler.name }}
  plugins:
    multiPoint:
      enabled:
      - name: Retinue
        # Of the scores of all plugins, the one that keeps a gang together weighs most.
        weight: 10
      disabled:
      - name: PrioritySort # Retinue orders the queue
      - name: DefaultPreemption # it would evict single pods out of whole gangs
    bind:
      enabled:
      - name: Retinue # before the default binder: it binds leaders with their reservation, and not too many pods at a time
  pluginConfig:
  - name: Retinue
    args:
      apiVersion: retinue.dev/v1alpha1
      kind: RetinueArgs
      {{- $arguments := deepCopy .Values.scheduler.arguments }}
      {{- if ne .Values.autoscaler.mode "Auto" }}
      {{- $_ := set $arguments "scaleUp" (merge (dict "mode" .Values.autoscaler.mode) ($arguments.scaleUp | default dict)) }}
      {{- end }}
      {{- with $arguments }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
  - name: NodeResourcesFit
    args:
      apiVersion: kubescheduler.config.k8s.io/v1
      kind: NodeResourcesFitArgs
      # Fill nodes that are in use: whole nodes stay free for whole gangs.
      scoringStrategy:
        type: MostAllocated
        resources:
        - name: cpu
          weight: 1
        - name: memory
          weight: 1
{{- end }}
