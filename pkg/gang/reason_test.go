package gang

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
)

// declaredReasons are the names of the constants of type Reason.
func declaredReasons(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "reason.go", nil, 0)
	require.NoError(t, err)
	var names []string
	for _, declared := range file.Decls {
		group, isGroup := declared.(*ast.GenDecl)
		if !isGroup || group.Tok != token.CONST {
			continue
		}
		for _, spec := range group.Specs {
			value := spec.(*ast.ValueSpec)
			typed, isTyped := value.Type.(*ast.Ident)
			converted, isConverted := value.Values[0].(*ast.CallExpr)
			if isTyped && typed.Name == "Reason" || isConverted && converted.Fun.(*ast.Ident).Name == "Reason" {
				names = append(names, value.Names[0].Name)
			}
		}
	}
	return names
}

// The set of reasons is closed: what the code declares, the table, and the documents are the same.
//
// Seen failing when Terminating was in no document.
func TestReasonsOfCodeTableAndDocumentsAreTheSame(t *testing.T) {
	var listed []string
	documented := "| reason | `PodScheduled` says | permanent | who has to act | meaning |\n|---|---|---|---|---|\n"
	for _, trait := range Reasons {
		listed = append(listed, string(trait.Reason))
		condition, permanent, actor := "–", "", "–"
		if trait.Waits {
			condition, actor = "`"+trait.Reason.Condition()+"`", string(trait.Actor)
		}
		if trait.Permanent {
			permanent = "yes"
		}
		documented += fmt.Sprintf("| `%s` | %s | %s | %s | %s |\n", trait.Reason, condition, permanent, actor, trait.Meaning)
	}
	declared := declaredReasons(t)
	require.Greater(t, len(declared), 20)
	require.ElementsMatch(t, declared, listed, "constants and table")

	text, err := os.ReadFile("../../docs/reasons.md")
	require.NoError(t, err)
	_, rest, _ := strings.Cut(string(text), "| reason |")
	table, _, _ := strings.Cut("| reason |"+rest, "\n\n")
	require.Equal(t, documented, strings.TrimSuffix(table, "\n")+"\n", "docs/reasons.md shows the table")
}

func TestTheTableOfReasonsIsConsistent(t *testing.T) {
	for _, trait := range Reasons {
		t.Run(string(trait.Reason), func(t *testing.T) {
			assert.NotEmpty(t, trait.Meaning)
			assert.False(t, !trait.Waits && (trait.Permanent || trait.OfQueue || trait.OfRoom || trait.Condition != ""), "only who waits waits for something")
			assert.Equal(t, trait.Waits, trait.Actor != "" && trait.Tier != 0, "who waits knows who has to act")
			assert.False(t, trait.Permanent && trait.Actor == Nobody, "waiting alone does not help, so somebody has to act")
			assert.False(t, trait.OfQueue && trait.Reason.Condition() == v1.PodReasonUnschedulable, "nodes do not help a gang that waits for its queue")
			assert.False(t, trait.OfRoom && trait.Reason.Condition() != v1.PodReasonUnschedulable, "nodes help a gang that lacks room")
			reason, known := ReasonOf(Verdict{Reason: trait.Reason, Message: "x: y"}.String())
			assert.True(t, known)
			assert.Equal(t, trait.Reason, reason)
		})
	}
	_, known := ReasonOf("0/4 nodes are available: 4 Insufficient cpu.")
	assert.False(t, known)
	assert.Equal(t, Trait{}, Reason("Unheard").Trait())
}

type secret struct{}

func (secret) Text(names bool) string {
	if names {
		return "behind ns/theirs"
	}
	return "behind another"
}

func TestAVerdictNamesOthersOnlyWhereTheyMayBeRead(t *testing.T) {
	v := Verdict{Reason: BehindOthers, Detail: secret{}, Message: ", for now"}
	assert.Equal(t, "BehindOthers: behind another, for now", v.String())
	assert.Equal(t, "BehindOthers: behind ns/theirs, for now", v.Say(true))
	assert.Equal(t, "behind another, for now", v.Text(false))
}
