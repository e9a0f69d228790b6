package spark

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// questions is how many random inputs Java is asked about.
const questions = 5000

// pieces are what random texts are made of: everything that means something to the format, and some that does not.
var pieces = []string{
	"a", "B", "0", "u", "n", "t", "f", "r", "=", ":", "#", "!", " ", "\t", "\f", "\v", "\n", "\r", "\r\n", `\`, `\\`, `\`, "\\\n", "\\\r\n",
	`\u0041`, `\uD83D`, `\uDE00`, `\u00e9`, `\u12`, "é", "世", "😀", "\x00", "\x7f", "${a}", "spark.", "\u0085", "\u2028", "\uFEFF",
}

func randomText(random *rand.Rand, longest int) string {
	var text strings.Builder
	for range random.IntN(longest + 1) {
		text.WriteString(pieces[random.IntN(len(pieces))])
	}
	return text.String()
}

func TestWhatJavaWritesIsReadAsItWas(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	var wanted []map[string]string
	var asked []string
	for range questions {
		values := map[string]string{}
		words := []string{"store"}
		for range random.IntN(4) {
			key := randomText(random, 6)
			if _, twice := values[key]; twice {
				continue
			}
			values[key] = randomText(random, 12)
			words = append(words, encodeHex(key), encodeHex(values[key]))
		}
		wanted = append(wanted, values)
		asked = append(asked, strings.Join(words, " "))
	}
	for i, answer := range askJava(t, asked) {
		text := decodeHex(t, answer)
		got, err := parseJava(text)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if diff := cmp.Diff(wanted[i], got); diff != "" {
			t.Fatalf("%q: -want +got:\n%s", text, diff)
		}
	}
}

func TestAnyTextIsReadAsJavaReadsIt(t *testing.T) {
	random := rand.New(rand.NewPCG(2, 2))
	var texts, asked []string
	for range questions {
		text := randomText(random, 40)
		texts = append(texts, text)
		asked = append(asked, "load "+encodeHex(text))
	}
	refused := 0
	for i, answer := range askJava(t, asked) {
		got, err := parseJava(texts[i])
		if answer == "error" {
			if refused++; err == nil {
				t.Fatalf("%q: Java refuses it, read as %q", texts[i], got)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%q: %v", texts[i], err)
		}
		want := map[string]string{}
		for words := strings.Fields(answer); len(words) > 0; words = words[2:] {
			want[decodeHex(t, words[0])] = decodeHex(t, words[1])
		}
		// Of a lone backslash at the very end Java makes an empty key. No setting has one.
		delete(want, "")
		delete(got, "")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%q: -want +got:\n%s", texts[i], diff)
		}
	}
	if refused == 0 || refused == questions {
		t.Errorf("Java refuses %d of %d texts: the texts show nothing", refused, questions)
	}
}

// askJava runs testdata/JavaProperties.java once over all questions.
func askJava(t *testing.T, asked []string) []string {
	t.Helper()
	if _, err := exec.LookPath("javac"); err != nil {
		t.Skip("there is no Java development kit to compare with")
	}
	cmd := exec.CommandContext(t.Context(), "java", "testdata/JavaProperties.java")
	cmd.Stdin = strings.NewReader(strings.Join(asked, "\n") + "\n")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("java: %v\n%s", err, stderr.String())
	}
	var answers []string
	lines := bufio.NewScanner(bytes.NewReader(output))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		answers = append(answers, lines.Text())
	}
	if len(answers) != len(asked) {
		t.Fatalf("Java gave %d answers to %d questions", len(answers), len(asked))
	}
	return answers
}

func encodeHex(text string) string {
	if text == "" {
		return "-"
	}
	return hex.EncodeToString([]byte(text))
}

func decodeHex(t *testing.T, text string) string {
	t.Helper()
	if text == "-" {
		return ""
	}
	decoded, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return string(decoded)
}
