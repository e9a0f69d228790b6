package arch_test

import (
	"go/ast"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"
)

// glossaryWords is how many words of its own the project may have.
const glossaryWords = 45

// banned are words that no name in pkg uses, because the field or the project has another -> that word. With a package, as
// kind@plugin, a word is banned in that package only.
var banned = map[string]string{
	"shape":        "signature",
	"meek":         "neverPreempts",
	"foreign":      "otherScheduler",
	"lone":         "single",
	"taker":        "preemptor",
	"wish":         "request",
	"choose@quota": "selectVictims",
	"claim@quota":  "selectVictims",
	"roam":         "unpinned",
	"seated":       "leaderBound",
	"unseated":     "admissionUndone",
	"refuted":      "definitionInvalid",
	"measured":     "sizeObserved",

	"trial":           "whatIf",
	"vacated":         "whatIf",
	"foresee":         "simulate",
	"bond":            "podRules",
	"company":         "affinity",
	"together@plugin": "affinity",
	"apart":           "antiAffinity",
	"level@plugin":    "topologySpread",
	"cast":            "members",
	"sit":             "place",
	"stand":           "place",
	"trail":           "path",
	"carry":           "path",
	"muster":          "countMembers",
	"line up":         "defineGroup",
	"enrol":           "addMember",
	"assemble":        "defineGroup",
	"desert":          "removeMember",
	"give up":         "end",
	"abandon":         "end",
	"withdraw":        "end",
	"barred":          "waitingAtPermit",
	"barrier":         "waitingAtPermit, permitTimeout",
	"stranded":        "waitingAtPermit",
	"tally":           "counts",
	"census":          "stats",
	"paged":           "copyOnWrite",
	"foretell":        "precheck",
	"retell":          "refresh",
	"kind@plugin":     "optionalResource",

	"manager": "the noun it manages",
	"info":    "the noun it is about",
	"helper":  "what it does",
	"util":    "what it does",
	"common":  "what it does",
	"get":     "the noun alone",
}

// theirs are words of Spark and Kubernetes with a banned word in them, which are called what they are called there.
var theirs = []string{"block manager", "pod info", "node info", "group version kind", "owner kind", "pod level"}

// stillUsed are the banned words that names still use -> how many names. A number may only fall: who renames one writes the new
// number here, and a word that is gone leaves the list.
var stillUsed = map[string]int{
	"assemble": 1,
	"barred":   2,
	"barrier":  5,
	"census":   2,
	"desert":   1,
	"enrol":    1,
	"foreign":  2,
	"info":     2,
	"line up":  1,
	"lone":     1,
	"measured": 2,
	"muster":   1,
	"refuted":  2,
	"roam":     1,
	"seated":   1,
	"stand":    1,
	"stranded": 1,
	"tally":    2,
	"unseated": 1,
}

func TestNamesUseNoBannedWord(t *testing.T) {
	uses := map[string][]string{} // banned word -> names with it
	for _, name := range names(sources(t)) {
		spoken := " " + strings.Join(words(name.name), " ") + " "
		for _, term := range theirs {
			spoken = strings.ReplaceAll(spoken, " "+term+" ", " ")
		}
		for entry := range banned {
			word, layer, _ := strings.Cut(entry, "@")
			if (layer == "" || layer == name.layer) && (strings.Contains(spoken, " "+word+" ") || strings.Contains(spoken, " "+word+"s ")) &&
				!slices.Contains(uses[entry], name.String()) {
				uses[entry] = append(uses[entry], name.String())
			}
		}
	}
	for _, word := range slices.Sorted(maps.Keys(banned)) {
		switch is, listed := len(uses[word]), stillUsed[word]; {
		case is > listed:
			t.Errorf("%q is used by %d names, and may be by %d: %q says it; they are %s", word, is, listed, banned[word], strings.Join(uses[word], " "))
		case is < listed && is == 0:
			t.Errorf("%q is gone: take it from the list", word)
		case is < listed:
			t.Errorf("%q is used by %d names, and the list says %d: write the smaller number down", word, is, listed)
		}
	}
	for word := range stillUsed {
		require.Contains(t, banned, word)
	}
}

// TestTheGlossaryIsOfTheCode: the words that docs/design.md explains are those that the code speaks.
func TestTheGlossaryIsOfTheCode(t *testing.T) {
	page, err := os.ReadFile("../../docs/design.md")
	require.NoError(t, err)
	terms := glossary(string(page))
	require.NotEmpty(t, terms)
	require.LessOrEqual(t, len(terms), glossaryWords, "the glossary has more words than a reader can learn")
	spoken := map[string]bool{}
	for _, name := range names(sources(t)) {
		for _, word := range words(name.name) {
			spoken[word], spoken[strings.TrimSuffix(word, "s")] = true, true
		}
	}
	seen := map[string]bool{}
	for _, term := range terms {
		require.False(t, seen[term], "%q is explained twice", term)
		seen[term] = true
		for _, word := range words(term) {
			require.True(t, spoken[word], "%q is in the glossary, and no name in pkg has the word %q", term, word)
			require.NotContains(t, banned, word, "%q is in the glossary and banned", term)
		}
	}
}

func TestWordsOfANameAreFound(t *testing.T) {
	for name, want := range map[string][]string{
		"Ledger":          {"ledger"},
		"losePodLocked":   {"lose", "pod", "locked"},
		"podUIDs":         {"pod", "uids"},
		"HTTPServer":      {"http", "server"},
		"max_running":     {"max", "running"},
		"elastic worker":  {"elastic", "worker"},
		"v1":              {"v1"},
		"_":               nil,
		"copy-on-write":   {"copy", "on", "write"},
		"sameURLsAsPod":   {"same", "urls", "as", "pod"},
		"DRAExtended":     {"dra", "extended"},
		"unclaimedAt1Min": {"unclaimed", "at1", "min"},
	} {
		require.Equal(t, want, words(name), name)
	}
	require.Equal(t, []string{"gang", "elastic worker"}, glossary("# A\n\n## Words\n\n| word | meaning |\n|---|---|\n| gang | one |\n| elastic worker | another |\n\n## B\n\n| x | y |\n"))
}

// declared is a name of a package in pkg.
type declared struct {
	layer, owner, name string // owner is the type of a method or field; empty for package-level names
}

func (d declared) String() string {
	if d.owner == "" {
		return d.layer + "." + d.name
	}
	return d.layer + "." + d.owner + "." + d.name
}

// names that files in pkg declare at package level, with the methods and fields of types.
func names(files []file) []declared {
	var found []declared
	for _, f := range files {
		layer := f.layer()
		if layer == "" {
			continue
		}
		add := func(owner string, idents ...*ast.Ident) {
			for _, ident := range idents {
				found = append(found, declared{layer, owner, ident.Name})
			}
		}
		for _, declaration := range f.syntax.Decls {
			switch declaration := declaration.(type) {
			case *ast.FuncDecl:
				add(receiverOf(declaration), declaration.Name)
			case *ast.GenDecl:
				for _, spec := range declaration.Specs {
					switch spec := spec.(type) {
					case *ast.ValueSpec:
						add("", spec.Names...)
					case *ast.TypeSpec:
						add("", spec.Name)
						ast.Inspect(spec.Type, func(n ast.Node) bool {
							switch n := n.(type) {
							case *ast.FuncType:
								return false // parameters are no members
							case *ast.Field:
								add(spec.Name.Name, n.Names...)
							}
							return true
						})
					}
				}
			}
		}
	}
	return found
}

// words of a name in mixed caps, or of several separated by anything else; lower case.
func words(name string) []string {
	var found []string
	runes := []rune(name)
	start := 0
	end := func(i int) {
		if i > start {
			found = append(found, strings.ToLower(string(runes[start:i])))
		}
		start = i
	}
	for i, r := range runes {
		switch {
		case !unicode.IsLetter(r) && !unicode.IsDigit(r):
			end(i)
			start = i + 1
		case unicode.IsUpper(r) && i > start:
			plural := i+1 < len(runes) && runes[i+1] == 's' && (i+2 == len(runes) || unicode.IsUpper(runes[i+2]))
			acronym := unicode.IsUpper(runes[i-1]) && (i+1 == len(runes) || !unicode.IsLower(runes[i+1]) || plural)
			if !acronym {
				end(i)
			}
		}
	}
	end(len(runes))
	return found
}

// glossary of docs/design.md: the first column of the table under "Words".
func glossary(page string) []string {
	_, section, _ := strings.Cut(page, "\n## Words\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var terms []string
	for _, row := range regexp.MustCompile(`(?m)^\| ([^|]+) \|`).FindAllStringSubmatch(section, -1) {
		if row[1] != "word" {
			terms = append(terms, strings.TrimSpace(row[1]))
		}
	}
	return terms
}
