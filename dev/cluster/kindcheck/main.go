// SPDX-License-Identifier: Apache-2.0

// Command kindcheck decodes a kind configuration strictly, with kind's own types.
//
// kind itself can be run only where Docker is; a misspelt field would be found there, on a user's machine.
package main

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
)

func main() {
	if len(os.Args) != 2 {
		fail("usage: kindcheck FILE")
	}
	content, err := os.ReadFile(os.Args[1])
	if err != nil {
		fail(err.Error())
	}
	cluster, err := decode(content)
	if err != nil {
		fail(fmt.Sprintf("%s: %v", os.Args[1], err))
	}
	fmt.Printf("%s: %d node(s)\n", cluster.Name, len(cluster.Nodes))
}

func decode(content []byte) (*v1alpha4.Cluster, error) {
	var cluster v1alpha4.Cluster
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	decoder.KnownFields(true)
	if err := decoder.Decode(&cluster); err != nil {
		return nil, err
	}
	if err := decoder.Decode(new(any)); err != io.EOF {
		return nil, fmt.Errorf("more than one document")
	}
	return &cluster, checkType(cluster.TypeMeta)
}

func checkType(found v1alpha4.TypeMeta) error {
	wanted := v1alpha4.TypeMeta{Kind: "Cluster", APIVersion: "kind.x-k8s.io/v1alpha4"}
	if found != wanted {
		return fmt.Errorf("is %s %s, not %s %s", found.APIVersion, found.Kind, wanted.APIVersion, wanted.Kind)
	}
	return nil
}

func fail(reason string) {
	fmt.Fprintln(os.Stderr, reason)
	os.Exit(1)
}
