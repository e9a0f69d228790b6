module house.example

go 1.26.0
