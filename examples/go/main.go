// Gives back each line in upper case, until the client ends: an ordinary program, whose standard input and output the
// host makes the connection.
package main

import (
	"io"
	"log"
	"os"
)

func main() {
	buffer := make([]byte, 64<<10)
	for {
		length, err := os.Stdin.Read(buffer)
		if _, err := os.Stdout.Write(upper(buffer[:length])); err != nil {
			log.Fatal(err)
		}
		if err == io.EOF {
			return
		}
		if err != nil {
			log.Fatal(err)
		}
	}
}

// upper turns ASCII to upper case in place, and leaves carriage returns out.
func upper(heard []byte) []byte {
	kept := heard[:0]
	for _, char := range heard {
		if char == '\r' {
			continue
		}
		if 'a' <= char && char <= 'z' {
			char -= 'a' - 'A'
		}
		kept = append(kept, char)
	}
	return kept
}
