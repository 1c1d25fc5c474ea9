package engine

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestLoadCities(t *testing.T) {
	installed, err := Install(t.Context(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	all, err := LoadCities(installed.Cities, 0)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 171_075 {
		t.Errorf("%d cities", len(all))
	}
	type identity struct{ country, name, lat, lng string }
	unique := make(map[identity]bool)
	for _, city := range all {
		unique[identity{city.Country, city.Name, city.Lat, city.Lng}] = true
	}
	if len(unique) != len(all) {
		t.Errorf("of %d cities, %d can be told apart", len(all), len(unique))
	}
	if want := (City{"Vila", "42.53176", "1.56654", "AD", "03", ""}); all[0] != want {
		t.Errorf("the first is %+v, want %+v", all[0], want)
	}

	limited, err := LoadCities(installed.Cities, 1000)
	if err != nil {
		t.Fatal(err)
	}
	if again := sample(all, 1000); !slices.Equal(limited, again) {
		t.Error("two samples of the same size differ")
	}
	for _, limit := range []int{1, 10, 246, 1000, 50_000, len(all) - 1} {
		cities := sample(all, limit)
		if len(cities) != limit {
			t.Errorf("limit %d: %d cities", limit, len(cities))
		}
		if got, want := countries(cities), min(limit, countries(all)); got != want {
			t.Errorf("limit %d: %d countries, want %d", limit, got, want)
		}
		if !slices.IsSortedFunc(cities, func(a, b City) int { return strings.Compare(a.Country, b.Country) }) {
			t.Errorf("limit %d: not in the file's order", limit)
		}
	}
}

// countries counts the countries of cities.
func countries(cities []City) int {
	seen := make(map[string]bool)
	for _, city := range cities {
		seen[city.Country] = true
	}
	return len(seen)
}

func TestLoadCitiesLimits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cities.json")
	row := `{"name":"a","lat":"0","lng":"0","country":"AA","admin1":"","admin2":""}`
	if err := os.WriteFile(path, []byte("["+row+", "+row+"\n]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for limit, want := range map[int]int{-1: 2, 0: 2, 1: 1, 2: 2, 3: 2} {
		if cities, err := LoadCities(path, limit); err != nil || len(cities) != want {
			t.Errorf("limit %d: %d cities, %v", limit, len(cities), err)
		}
	}
}

func TestLoadCitiesGarbled(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"empty":     {"", "unexpected EOF"},
		"object":    {`{"name":"a"}`, "not a JSON array"},
		"no JSON":   {`<html>`, "invalid character '<'"},
		"cut":       {`[{"name":"a","country":"AA"},{"na`, "row 2: unexpected EOF"},
		"cut later": {`[{"name":"a","country":"AA"}`, "after row 1: unexpected EOF"},
		"number":    {`[1]`, "row 1: json: cannot unmarshal number"},
		"no name":   {`[{"name":"a","country":"AA"},{}]`, "row 2: no name or no country"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "cities.json")
			if err := os.WriteFile(path, []byte(test.text), 0o644); err != nil {
				t.Fatal(err)
			}
			_, err := LoadCities(path, 1)
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
	if _, err := LoadCities(filepath.Join(t.TempDir(), "none"), 0); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: error %v", err)
	}
}
