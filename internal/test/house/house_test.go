package house_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// products are the libraries: each is of use alone, so none knows another.
var products = []string{"reseal/seed", "reseal/verify", "reseal/replicate"}

// imports returns what each package of the module imports, its tests left out.
func imports(t *testing.T) map[string][]string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "reseal/...").Output()
	if err != nil {
		t.Fatalf("list packages: %v", err)
	}
	all := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		all[fields[0]] = fields[1:]
	}
	for _, name := range append(products, "reseal/internal/table", "reseal/cmd/reseal") {
		if len(all[name]) == 0 {
			t.Fatalf("%s is not there, or imports nothing: %d packages listed", name, len(all))
		}
	}
	return all
}

// within tells whether the package is in the folder, or is it.
func within(name, folder string) bool { return name == folder || strings.HasPrefix(name, folder+"/") }

func withinAny(name string, folders []string) bool {
	return slices.ContainsFunc(folders, func(folder string) bool { return within(name, folder) })
}

// forbidden says why the package may not import the other one; "" if it may.
func forbidden(name, imported string) string {
	above := append([]string{"reseal/cmd"}, products...)
	switch {
	case within(name, "reseal/internal") && !within(name, "reseal/internal/test") && withinAny(imported, above):
		return "nothing in internal knows what stands above it"
	case withinAny(name, products) && within(imported, "reseal/cmd"):
		return "libraries know no program"
	case withinAny(name, products) && withinAny(imported, products) && !within(imported, root(name)):
		return "seed, verify and replicate know nothing of each other"
	case !within(name, "reseal/internal/test") && !within(name, "reseal/cmd/internal") && within(imported, "reseal/internal/test"):
		return "what users run knows no test"
	}
	return ""
}

// root is the product that the package belongs to.
func root(name string) string {
	for _, product := range products {
		if within(name, product) {
			return product
		}
	}
	return name
}

func TestImports(t *testing.T) {
	for name, list := range imports(t) {
		for _, imported := range list {
			if why := forbidden(name, imported); why != "" {
				t.Errorf("%s imports %s: %s", name, imported, why)
			}
		}
	}
}

// The rules find what they are for.
func TestForbidden(t *testing.T) {
	for _, pair := range [][2]string{
		{"reseal/internal/item", "reseal/seed"},
		{"reseal/internal/item", "reseal/cmd/reseal"},
		{"reseal/seed", "reseal/verify"},
		{"reseal/verify/report", "reseal/replicate"},
		{"reseal/replicate", "reseal/cmd/internal/demo"},
		{"reseal/verify", "reseal/internal/test/testkit"},
		{"reseal/cmd/reseal", "reseal/internal/test/testkit"},
	} {
		if forbidden(pair[0], pair[1]) == "" {
			t.Errorf("%s may import %s", pair[0], pair[1])
		}
	}
	for _, pair := range [][2]string{{"reseal/verify/report", "reseal/verify"}, {"reseal/cmd/reseal", "reseal/seed"}, {"reseal/seed", "reseal/internal/item"}} {
		if why := forbidden(pair[0], pair[1]); why != "" {
			t.Errorf("%s may not import %s: %s", pair[0], pair[1], why)
		}
	}
}
