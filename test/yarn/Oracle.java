import java.io.File;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Arrays;
import java.util.Collections;
import java.util.Set;

import org.apache.hadoop.metrics2.lib.DefaultMetricsSystem;
import org.apache.hadoop.yarn.api.records.NodeId;
import org.apache.hadoop.yarn.api.records.Resource;
import org.apache.hadoop.yarn.conf.YarnConfiguration;
import org.apache.hadoop.yarn.server.api.protocolrecords.RegisterNodeManagerRequest;
import org.apache.hadoop.yarn.server.resourcemanager.ResourceManager;
import org.apache.hadoop.yarn.server.resourcemanager.scheduler.capacity.CapacityScheduler;

/**
 * Starts a ResourceManager with nodes, gives it every capacity-scheduler.xml of a directory by turns, as refreshQueues does, and stores
 * what its web service /ws/v1/cluster/scheduler answers, at two sizes of the cluster: NAME.1.json and NAME.2.json, or NAME.refused
 * with its reason.
 *
 * java Oracle.java IN OUT CONF SCRATCH (rest|dominant|labelled), where CONF is a directory of the class path. The files NAME.label.xml are
 * for nodes of which some have label x. A ResourceManager keeps the calculator with which it was started, so that those with the
 * dominant one have a ResourceManager of their own.
 */
public class Oracle {
  // MiB and vcores that are added, without a label and with one.
  static final int[][] STEPS = {{102400, 100}, {73728 + 511, 37}};
  static final int[][] LABELLED = {{40960, 40}, {8192 + 77, 13}};
  static final String DOMINANT = "org.apache.hadoop.yarn.util.resource.DominantResourceCalculator";
  static final HttpClient CLIENT = HttpClient.newHttpClient();

  public static void main(String[] args) throws Exception {
    Path in = Path.of(args[0]), out = Path.of(args[1]), file = Path.of(args[2], "capacity-scheduler.xml"), scratch = Path.of(args[3]);
    boolean labelled = args[4].equals("labelled"), dominant = args[4].equals("dominant");
    int port = labelled ? 18689 : dominant ? 18690 : 18688;
    File[] files = in.toFile().listFiles((dir, name) -> name.endsWith(".xml") && name.endsWith(".label.xml") == labelled
        && (labelled || isDominant(new File(dir, name)) == dominant));
    Arrays.sort(files);
    Files.writeString(file, "<configuration><property><name>yarn.scheduler.capacity.root.queues</name><value>first</value></property>"
        + "<property><name>yarn.scheduler.capacity.root.first.capacity</name><value>100</value></property>"
        + (dominant ? "<property><name>yarn.scheduler.capacity.resource-calculator</name><value>" + DOMINANT + "</value></property>" : "")
        + "</configuration>");
    DefaultMetricsSystem.setMiniClusterMode(true);
    YarnConfiguration conf = new YarnConfiguration();
    conf.set("yarn.resourcemanager.scheduler.class", CapacityScheduler.class.getName());
    for (String service : new String[] {"address", "scheduler.address", "resource-tracker.address", "admin.address"}) {
      conf.set("yarn.resourcemanager." + service, "127.0.0.1:0");
    }
    conf.set("yarn.resourcemanager.webapp.address", "127.0.0.1:" + port);
    conf.setLong("yarn.nm.liveness-monitor.expiry-interval-ms", 6L * 3600 * 1000);
    if (labelled) {
      conf.setBoolean("yarn.node-labels.enabled", true);
      conf.set("yarn.node-labels.fs-store.root-dir", scratch.resolve("labels").toUri().toString());
    }
    ResourceManager rm = new ResourceManager();
    rm.init(conf);
    rm.start();
    if (labelled) {
      rm.getRMContext().getNodeLabelManager().addToCluserNodeLabelsWithDefaultExclusivity(Set.of("x"));
    }
    CapacityScheduler scheduler = (CapacityScheduler) rm.getResourceScheduler();
    long memory = 0;
    for (int step = 0; step < STEPS.length; step++) {
      memory += register(rm, 2 * step, STEPS[step], false);
      if (labelled) {
        memory += register(rm, 2 * step + 1, LABELLED[step], true);
      }
      for (int i = 0; scheduler.getClusterResource().getMemorySize() != memory; i++) {
        if (i > 6000) {
          throw new IOException("the nodes do not come");
        }
        Thread.sleep(10);
      }
      for (File tree : files) {
        String name = tree.getName().substring(0, tree.getName().length() - 4);
        // A queue that is not in the next file has to be stopped before.
        scheduler.getRootQueue().stopQueue();
        scheduler.getRootQueue().activateQueue();
        Files.copy(tree.toPath(), file, StandardCopyOption.REPLACE_EXISTING);
        try {
          scheduler.reinitialize(conf, rm.getRMContext());
        } catch (Throwable t) {
          Throwable cause = t;
          while (cause.getCause() != null) {
            cause = cause.getCause();
          }
          Files.writeString(out.resolve(name + ".refused"), String.valueOf(cause.getMessage()));
          continue;
        }
        Files.writeString(out.resolve(name + "." + (step + 1) + ".json"), get(port));
      }
    }
    System.exit(0);
  }

  static boolean isDominant(File file) {
    try {
      return Files.readString(file.toPath()).contains(DOMINANT);
    } catch (IOException e) {
      throw new java.io.UncheckedIOException(e);
    }
  }

  static long register(ResourceManager rm, int number, int[] size, boolean labelled) throws Exception {
    NodeId id = NodeId.newInstance("127.0.0.1", 20000 + number);
    if (labelled) {
      rm.getRMContext().getNodeLabelManager().replaceLabelsOnNode(Collections.singletonMap(id, Set.of("x")));
    }
    rm.getResourceTrackerService().registerNodeManager(
        RegisterNodeManagerRequest.newInstance(id, 30000 + number, Resource.newInstance(size[0], size[1]), "3.4.1", null, null));
    return size[0];
  }

  static String get(int port) throws Exception {
    HttpRequest request = HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + port + "/ws/v1/cluster/scheduler"))
        .header("Accept", "application/json").build();
    HttpResponse<String> response = CLIENT.send(request, HttpResponse.BodyHandlers.ofString());
    if (response.statusCode() != 200) {
      throw new IOException("status " + response.statusCode() + ": " + response.body());
    }
    return response.body();
  }
}
