import java.io.File;
import java.lang.reflect.Method;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;

import org.apache.hadoop.yarn.server.resourcemanager.scheduler.fair.converter.FSConfigToCSConfigArgumentHandler;

/**
 * Runs Hadoop's fs2cs on every fair-scheduler.xml of a directory: NAME.xml becomes OUT/NAME/capacity-scheduler.xml.
 *
 * java Fs2cs.java IN OUT YARN-SITE. The class path must hold no capacity-scheduler.xml, which would be mixed in.
 */
public class Fs2cs {
  public static void main(String[] args) throws Exception {
    // The method is what the command line's main calls before it ends the process.
    Method convert = FSConfigToCSConfigArgumentHandler.class.getDeclaredMethod("parseAndConvert", String[].class);
    convert.setAccessible(true);
    File[] files = new File(args[0]).listFiles((dir, name) -> name.endsWith(".xml"));
    Arrays.sort(files);
    for (File file : files) {
      Path out = Path.of(args[1], file.getName().substring(0, file.getName().length() - 4));
      Files.createDirectories(out);
      int code = (int) convert.invoke(new FSConfigToCSConfigArgumentHandler(), (Object) new String[] {"-y", args[2], "-f", file.getPath(), "-o", out.toString(), "--skip-verification", "--no-terminal-rule-check"});
      if (code != 0) {
        System.exit(code);
      }
    }
    System.exit(0);
  }
}
