// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	config "k8s.io/apiserver/pkg/apis/apiserver/v1"
	"sigs.k8s.io/yaml"
)

func manifest(t *testing.T, name string, into any) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(manifests, name))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(text, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// TestManifests: what deploy/k8s holds is of Kubernetes' own types, and its parts fit
// together.
func TestManifests(t *testing.T) {
	var pod core.Pod
	var set apps.DaemonSet
	var encryption config.EncryptionConfiguration
	manifest(t, "static-pod.yaml", &pod)
	manifest(t, "daemonset.yaml", &set)
	manifest(t, "encryption-configuration.yaml", &encryption)

	kms := encryption.Resources[0].Providers[0].KMS
	if kms == nil || kms.APIVersion != "v2" || !slices.Equal(encryption.Resources[0].Resources, []string{"secrets"}) {
		t.Fatalf("the first provider is %+v", encryption.Resources[0].Providers[0])
	}
	for name, spec := range map[string]core.PodSpec{"static-pod.yaml": pod.Spec, "daemonset.yaml": set.Spec.Template.Spec} {
		c := spec.Containers[0]
		if socket := "--socket=" + strings.TrimPrefix(kms.Endpoint, "unix://"); !slices.Contains(c.Command, socket) || !slices.Contains(c.ReadinessProbe.Exec.Command, socket) {
			t.Errorf("%s: the plugin listens elsewhere than %s", name, kms.Endpoint)
		}
		if c.LivenessProbe != nil {
			t.Errorf("%s: a restart would forget the leases", name)
		}
		s, p := c.SecurityContext, spec.SecurityContext
		if !*p.RunAsNonRoot || *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem || len(s.Capabilities.Drop) == 0 || *spec.AutomountServiceAccountToken {
			t.Errorf("%s: the plugin may do more than it needs", name)
		}
		if !spec.HostNetwork || spec.DNSPolicy != core.DNSDefault {
			t.Errorf("%s: the plugin needs the cluster to reach a key server", name)
		}
		if !strings.Contains(c.Image, "@sha256:") {
			t.Errorf("%s: the image is not named by its digest", name)
		}
	}
	if want, got := pod.Spec.Containers[0].Command, set.Spec.Template.Spec.Containers[0].Command; !slices.Equal(want, got) {
		t.Errorf("the DaemonSet runs %v, the static pod %v", got, want)
	}
	if !slices.Equal(set.Spec.Template.Spec.Tolerations, []core.Toleration{{Operator: core.TolerationOpExists}}) {
		t.Error("the DaemonSet leaves tainted nodes out")
	}
}
