package spark

import "maps"

// Languages are what spark-submit writes an application's language as.
var Languages = []string{"java", "python", "r"}

// Language is what the properties say that the application is written in; said is false when they do not, and java is assumed:
// spark-submit writes it, whoever writes properties by hand leaves it out.
func (p Properties) Language() (language string, said bool) {
	value, said := p[resourceType]
	if !said {
		return Languages[0], false
	}
	return value.Text, true
}

// In is the same application in another language.
func (p Properties) In(language string) Properties {
	other := maps.Clone(p)
	if other == nil {
		other = Properties{}
	}
	other[resourceType] = Value{Text: language}
	return other
}

// TemplateFiles are the files that the settings name as pod templates of driver and executors; empty means none.
func (p Properties) TemplateFiles() (driver, executor string) {
	return p[driverTemplate].Text, p[executorTemplate].Text
}
