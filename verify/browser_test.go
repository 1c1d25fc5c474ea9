package verify_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"reseal/verify"
	"reseal/verify/report"
)

// browser is a headless Chromium, driven over WebDriver (W3C) by its chromedriver.
type browser struct {
	t       *testing.T
	session string // URL
}

// program finds a browser and its driver. Where there is none, the test is skipped, but not in CI.
func program(t *testing.T) (chromium, driver string) {
	t.Helper()
	driver, err := exec.LookPath("chromedriver")
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, notFound := exec.LookPath(name); notFound == nil && err == nil {
			return path, driver
		}
	}
	const missing = "chromium and chromedriver are not installed (make browser, or Debian's packages chromium and chromium-driver)"
	if os.Getenv("CI") == "true" {
		t.Fatal(missing)
	}
	t.Skip(missing + ": the page is not tested in a browser")
	return "", ""
}

var driverPort = regexp.MustCompile(`started successfully on port ([0-9]+)`)

// startDriver starts chromedriver, which ends with the test, and returns its port. It takes a free one for IPv4, and gives up ("") if
// that is taken for IPv6.
func startDriver(t *testing.T, driver string) string {
	t.Helper()
	cmd := exec.Command(driver, "--port=0") // not the test's context: the session is ended after it
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatalf("start chromedriver: %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if match := driverPort.FindStringSubmatch(lines.Text()); match != nil {
			go func() { _, _ = io.Copy(io.Discard, out) }() // ends with the process
			return match[1]
		}
		t.Log("chromedriver:", lines.Text())
	}
	return ""
}

// newBrowser starts one, which ends with the test.
func newBrowser(t *testing.T) *browser {
	t.Helper()
	chromium, driver := program(t)
	port := ""
	for try := 0; port == "" && try < 5; try++ {
		port = startDriver(t, driver)
	}
	if port == "" {
		t.Fatal("chromedriver names no port")
	}
	b := &browser{t: t, session: "http://127.0.0.1:" + port + "/session"}
	profile := t.TempDir()
	var session struct{ SessionID string }
	b.call("POST", "", map[string]any{"capabilities": map[string]any{"alwaysMatch": map[string]any{
		"goog:loggingPrefs": map[string]string{"browser": "ALL", "performance": "ALL"},
		"goog:chromeOptions": map[string]any{"binary": chromium, "args": []string{
			"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
			"--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars", "--user-data-dir=" + profile,
		}},
	}}}, &session)
	b.session += "/" + session.SessionID
	b.call("POST", "/url", map[string]string{"url": "about:blank"}, nil) // instead of the page of a new tab, which makes requests
	b.requests()
	t.Cleanup(func() {
		b.call("DELETE", "", map[string]any{}, nil)
		// The browser's processes may take a moment to let go of the profile.
		for deadline := time.Now().Add(5 * time.Second); os.RemoveAll(profile) != nil && time.Now().Before(deadline); {
			time.Sleep(20 * time.Millisecond)
		}
	})
	return b
}

// call makes one request of WebDriver and decodes its value.
func (b *browser) call(method, path string, in, value any) {
	b.t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		b.t.Fatal(err)
	}
	request, err := http.NewRequest(method, b.session+path, bytes.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	response, err := (&http.Client{Timeout: time.Minute}).Do(request)
	if err != nil {
		b.t.Fatalf("browser: %v", err)
	}
	defer func() { _ = response.Body.Close() }()
	var answer struct{ Value json.RawMessage }
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || response.StatusCode != http.StatusOK {
		b.t.Fatalf("browser: %s %s: %s, %v, %.500s", method, path, response.Status, err, answer.Value)
	}
	if value != nil {
		if err := json.Unmarshal(answer.Value, value); err != nil {
			b.t.Fatalf("browser: %s %s: %v in %.500s", method, path, err, answer.Value)
		}
	}
}

func (b *browser) open(path string) {
	b.call("POST", "/url", map[string]string{"url": "file://" + path}, nil)
}

// run evaluates a JavaScript expression in the page.
func (b *browser) run(expression string, value any) {
	b.t.Helper()
	b.call("POST", "/execute/sync", map[string]any{"script": "return " + expression, "args": []any{}}, value)
}

func (b *browser) number(expression string) int {
	b.t.Helper()
	var n int
	b.run(expression, &n)
	return n
}

func (b *browser) text(expression string) string {
	b.t.Helper()
	var text string
	b.run(expression, &text)
	return text
}

// element finds the first element, as a user's clicks and keys need it.
func (b *browser) element(selector string) string {
	b.t.Helper()
	var found map[string]string
	b.call("POST", "/element", map[string]string{"using": "css selector", "value": selector}, &found)
	for _, id := range found {
		return "/element/" + id
	}
	b.t.Fatalf("no element %s", selector)
	return ""
}

func (b *browser) click(selector string) {
	b.t.Helper()
	b.call("POST", b.element(selector)+"/click", map[string]any{}, nil)
}

func (b *browser) enter(selector, text string) {
	b.t.Helper()
	b.call("POST", b.element(selector)+"/clear", map[string]any{}, nil)
	if text != "" {
		b.call("POST", b.element(selector)+"/value", map[string]string{"text": text}, nil)
	}
}

// devtools runs a command of the Chrome DevTools protocol.
func (b *browser) devtools(command string, parameters, value any) {
	b.t.Helper()
	b.call("POST", "/goog/cdp/execute", map[string]any{"cmd": command, "params": parameters}, value)
}

// view sets the width and the colours, and keeps a picture of the whole page.
func (b *browser) view(width int, scheme string) {
	b.t.Helper()
	b.devtools("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false}, nil)
	b.devtools("Emulation.setEmulatedMedia", map[string]any{"features": []any{map[string]string{"name": "prefers-color-scheme", "value": scheme}}}, nil)
	var picture struct{ Data string }
	b.devtools("Page.captureScreenshot", map[string]any{"captureBeyondViewport": true}, &picture)
	png, err := base64.StdEncoding.DecodeString(picture.Data)
	if err == nil {
		err = os.WriteFile(filepath.Join(b.t.ArtifactDir(), fmt.Sprintf("%s-%d.png", scheme, width)), png, 0o600)
	}
	if err != nil || len(png) < 10_000 {
		b.t.Errorf("screenshot of %d bytes: %v", len(png), err)
	}
}

// console returns what the page has written to the console since the last call, errors of the page and its policy among it.
func (b *browser) console() []string {
	b.t.Helper()
	var entries []struct{ Level, Message string }
	b.call("POST", "/se/log", map[string]string{"type": "browser"}, &entries)
	var list []string
	for _, e := range entries {
		list = append(list, e.Level+": "+e.Message)
	}
	return list
}

// requests returns the addresses that the browser has asked for since the last call.
func (b *browser) requests() []string {
	b.t.Helper()
	var entries []struct{ Message string }
	b.call("POST", "/se/log", map[string]string{"type": "performance"}, &entries)
	var list []string
	for _, e := range entries {
		var event struct {
			Message struct {
				Method string
				Params struct{ Request struct{ URL string } }
			}
		}
		if err := json.Unmarshal([]byte(e.Message), &event); err != nil {
			b.t.Fatal(err)
		}
		if event.Message.Method == "Network.requestWillBeSent" {
			list = append(list, event.Message.Params.Request.URL)
		}
	}
	return list
}

// expectInert fails the test if anything of what came from the tables became part of the page's structure.
func (b *browser) expectInert(title string, rows int) {
	b.t.Helper()
	if got := b.text("document.title"); got != title {
		b.t.Errorf("the title is %q, want %q", got, title)
	}
	for expression, want := range map[string]int{
		"document.scripts.length": 1, "document.querySelectorAll('style').length": 1,
		"document.querySelectorAll('img, svg, iframe, object, embed, form, a, video, base').length":                       0,
		"[...document.querySelectorAll('*')].filter(e => [...e.attributes].some(a => /^on|^style$/.test(a.name))).length": 0,
		"document.querySelectorAll('.row').length":                                                                        rows,
		"document.querySelectorAll('main > section').length":                                                              4,
		"getComputedStyle(document.body).display === 'block' ? 1 : 0":                                                     1,
	} {
		if got := b.number(expression); got != want {
			b.t.Errorf("%s is %d, want %d", expression, got, want)
		}
	}
}

// TestPageInBrowser looks at the page as its reader does: filter, search, expand, and choose a segment. Hostile keys, attribute names
// and values stay text.
func TestPageInBrowser(t *testing.T) {
	t.Parallel()
	b := newBrowser(t)
	const each = 20
	result := pageResult(16)
	list := pageDifferences(t, each)
	path := filepath.Join(t.TempDir(), "page.html")
	if err := os.WriteFile(path, []byte(writePage(t, list, &result, nil)), 0o600); err != nil {
		t.Fatal(err)
	}
	b.open(path)
	const title = "failed: customers and customers-encrypted - reseal verify"
	b.expectInert(title, 4*each)
	b.expectTexts(list)

	shown := func(want int, says string) {
		t.Helper()
		if got := b.number("[...document.querySelectorAll('.row')].filter(r => r.checkVisibility()).length"); got != want {
			t.Errorf("%d rows are visible, want %d", got, want)
		}
		if got := b.text("document.getElementById('count').textContent"); got != says {
			t.Errorf("it says %q, want %q", got, says)
		}
	}
	shown(80, "80 shown")
	b.click(".chip.missing")
	b.click(".chip.still_changing")
	shown(40, "40 of 80 shown")
	b.enter("#search", "customer-0012")
	shown(2, "2 of 80 shown")
	b.enter("#search", strings.ToUpper("<img src=x")) // in keys and attribute names
	shown(2, "2 of 80 shown")
	b.enter("#search", "no such key")
	shown(0, "0 of 80 shown")
	b.enter("#search", "")
	b.run("document.getElementById('search').dispatchEvent(new Event('input'))", nil) // clear is no key press
	b.click(".chip.missing")
	b.click(".chip.still_changing")
	shown(80, "80 shown")

	opened := func(want int) {
		t.Helper()
		if got := b.number("[...document.querySelectorAll('.row .body')].filter(r => r.checkVisibility()).length"); got != want {
			t.Errorf("%d rows are open, want %d", got, want)
		}
	}
	opened(0)
	b.click(".row.different summary")
	opened(1)
	if got := b.text("document.querySelector('.row[open] .values').textContent"); !strings.Contains(got, "Main St 1") || !strings.Contains(got, "gold") {
		t.Errorf("the values are %q", got)
	}
	b.click(".row.different summary")
	opened(0)
	b.click("#expand")
	opened(80)
	b.expectInert(title, 4*each)
	b.click("#expand")
	opened(0)

	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int{360, 1200} {
			b.click(".row.different summary")
			b.view(width, scheme)
			b.click(".row.different summary")
			var wide []string
			b.run("[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth).map(e => e.tagName + '.' + e.className)", &wide)
			if len(wide) > 0 {
				t.Errorf("wider than %d px: %q", width, wide)
			}
		}
	}
	if list := b.console(); len(list) > 0 {
		t.Errorf("console: %q", list)
	}
	allowed := []string{"file://" + path, "data:,"}
	if list := b.requests(); !slices.Contains(list, allowed[0]) || slices.ContainsFunc(list, func(url string) bool { return !slices.Contains(allowed, url) }) {
		t.Errorf("requests: %q", list)
	}

	// Even what would get past the escaping can do nothing.
	b.run(`(() => { const s = document.createElement("script"); s.textContent = "document.title = 'hacked'"; document.body.append(s);
		const i = document.createElement("img"); i.setAttribute("onerror", "document.title = 'hacked'"); i.src = "http://127.0.0.1:1/x"; document.body.append(i); })()`, nil)
	if got, list := b.text("document.title"), b.console(); got != title || len(list) < 2 {
		t.Errorf("the policy stops nothing: title %q, console %q", got, list)
	}
}

// expectTexts compares what the page shows with what it was given.
func (b *browser) expectTexts(list []difference) {
	b.t.Helper()
	var want []string
	for _, d := range list {
		key, err := d.Key.JSON()
		if err != nil {
			b.t.Fatal(err)
		}
		want = append(want, key)
	}
	var got []string
	b.run("[...document.querySelectorAll('.key')].map(e => e.textContent)", &got)
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		b.t.Errorf("the keys are %q, want %q", got, want)
	}
}

// TestMapInBrowser chooses segments in the page of a real verification.
func TestMapInBrowser(t *testing.T) {
	t.Parallel()
	b := newBrowser(t)
	ts := numbered(t, 300)
	ts.damage()
	page := report.NewPage(pageHead)
	result, _ := ts.verify(segments(7), func(o *verify.Options) { o.Difference = page.Add })
	path := filepath.Join(t.TempDir(), "page.html")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := page.Write(file, &result, nil); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	b.open(path)
	for side, want := range map[string]int{"source": 2, "target": 2} { // the missing one is in no segment of the target
		sum := 0
		for _, cell := range map[string][]verify.Cell{"source": result.Map.Source, "target": result.Map.Target}[side] {
			if cell.Differences == 0 {
				continue
			}
			sum += int(cell.Differences)
			selector := fmt.Sprintf(`button[data-side=%s][data-cell="%d"]`, side, cell.First)
			b.click(selector)
			if got := b.number("document.querySelectorAll('.row:not([hidden])').length"); got != int(cell.Differences) {
				t.Errorf("%s segment %d: %d rows, want %d", side, cell.First, got, cell.Differences)
			}
			b.click(selector)
		}
		if sum != want || b.number("document.querySelectorAll('.row:not([hidden])').length") != 3 {
			t.Errorf("%s: %d differences in the map, want %d", side, sum, want)
		}
	}
	if list := b.console(); len(list) > 0 {
		t.Errorf("console: %q", list)
	}
}
