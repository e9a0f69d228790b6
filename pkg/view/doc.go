// Package view is what people are shown of queues and applications, made of nothing but the API's objects: models that programs can
// read, and tables and pages of text of them.
//
// Every model says what it is made of, and leaves out what its reader could not read: whoever may see the pods of one namespace, and no
// Queues, is shown those pods. What cannot be known is absent, never zero.
package view
