package engine

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// City is one row of the data set. Country, Name, Lat and Lng together are unique in it.
type City struct {
	// Name is the city's name, in UTF-8.
	Name string `json:"name"`
	// Lat is the latitude in degrees, a decimal number as text.
	Lat string `json:"lat"`
	// Lng is the longitude in degrees, a decimal number as text.
	Lng string `json:"lng"`
	// Country is the ISO 3166-1 code of two letters.
	Country string `json:"country"`
	// Admin1 is the code of the first-level division, such as a state. It may be empty.
	Admin1 string `json:"admin1"`
	// Admin2 is the code of the second-level division, such as a county. It may be empty.
	Admin2 string `json:"admin2"`
}

// LoadCities reads the data set at path, in the file's order, which is by country. With a limit above zero it
// returns that many rows, or all if there are fewer: always the same ones, and of each country at least one if
// the limit allows. It fails if the file can't be read or isn't a JSON array of cities.
func LoadCities(path string, limit int) ([]City, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("load cities: %w", err)
	}
	cities, err := decodeCities(bufio.NewReaderSize(file, 1<<16))
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, fmt.Errorf("load cities: %s: %w", path, err)
	}
	if limit > 0 && limit < len(cities) {
		cities = sample(cities, limit)
	}
	return cities, nil
}

// decodeCities reads one JSON array, element by element.
func decodeCities(r io.Reader) ([]City, error) {
	decoder := json.NewDecoder(r)
	token, err := decoder.Token()
	if err != nil {
		return nil, unexpectedEnd(err)
	}
	if token != json.Delim('[') {
		return nil, errors.New("not a JSON array")
	}
	var cities []City
	for decoder.More() {
		var city City
		if err := decoder.Decode(&city); err != nil {
			return nil, fmt.Errorf("row %d: %w", len(cities)+1, unexpectedEnd(err))
		}
		if city.Name == "" || city.Country == "" {
			return nil, fmt.Errorf("row %d: no name or no country", len(cities)+1)
		}
		cities = append(cities, city)
	}
	if _, err := decoder.Token(); err != nil {
		return nil, fmt.Errorf("after row %d: %w", len(cities), unexpectedEnd(err))
	}
	return cities, nil
}

// unexpectedEnd turns the decoder's "EOF", which says little to a reader of the message, into one that says more.
func unexpectedEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// sample picks limit of the cities, which must be more. Every k-th row alone would leave out most of the small
// countries, so the first row of each country comes first, and the rest is filled with evenly spaced other rows.
func sample(cities []City, limit int) []City {
	seen := make(map[string]bool)
	var firsts, others []int
	for i, city := range cities {
		if seen[city.Country] {
			others = append(others, i)
			continue
		}
		seen[city.Country] = true
		firsts = append(firsts, i)
	}
	picked := make([]bool, len(cities))
	fromFirsts := min(limit, len(firsts))
	for _, i := range spaced(firsts, fromFirsts) {
		picked[i] = true
	}
	for _, i := range spaced(others, limit-fromFirsts) {
		picked[i] = true
	}
	result := make([]City, 0, limit)
	for i, city := range cities {
		if picked[i] {
			result = append(result, city)
		}
	}
	return result
}

// spaced returns n evenly spaced elements of the list, which must have at least as many.
func spaced(list []int, n int) []int {
	result := make([]int, 0, n)
	for i := range n {
		result = append(result, list[i*len(list)/n])
	}
	return result
}
